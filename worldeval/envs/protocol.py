"""What a ground-truth simulator offers: a seeded start and frame-level steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from worldeval.axes import Array, Float32, UInt8


@dataclass(frozen=True, kw_only=True)
class EnvFrame:
    """What the simulator shows at one world frame."""

    frames: Mapping[str, UInt8[Array, "h w 3"]]  # view -> RGB, 0-255
    pose: Float32[Array, " p"]
    success: bool  # the simulator's flag, at any simulator step since the last frame


@runtime_checkable
class Environment(Protocol):
    """One episode at a time. A world frame is `k` simulator steps; its action is all k of them."""

    @property
    def views(self) -> tuple[str, ...]: ...

    @property
    def action_dim(self) -> int: ...

    @property
    def fps(self) -> float: ...

    def reset(self, seed: int) -> EnvFrame:
        """Begin the episode that `seed` alone decides."""
        ...

    def step(self, action: Float32[Array, " a"]) -> EnvFrame:
        """Apply one world frame's action."""
        ...

    def close(self) -> None: ...
