"""The interface of simulators: seeded starts and frame-level steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from worldeval.axes import Array, Float32, UInt8


@dataclass(frozen=True, kw_only=True)
class EnvFrame:
    """A simulator's output at one world frame."""

    frames: Mapping[str, UInt8[Array, "h w 3"]]  # view -> RGB, 0-255; empty if not rendered
    pose: Float32[Array, " p"]  # proprioception
    success: bool  # the simulator's flag, at any simulator step since the last frame
    over: bool = False  # the simulator ended the episode; nothing more can happen in it
    # State of the objects, which no policy sees; None: the simulator does not tell it. What its
    # numbers mean is the simulator's `object_columns`.
    objects: Float32[Array, " o"] | None = None


@runtime_checkable
class Environment(Protocol):
    """One task, one episode at a time.

    A world frame is `steps_per_frame` simulator steps, and its action holds all of theirs, one
    after another. Once an episode is over, further steps change nothing and show its last frame.
    """

    @property
    def views(self) -> tuple[str, ...]: ...

    @property
    def action_dim(self) -> int:
        """Numbers in the action of a world frame."""
        ...

    @property
    def steps_per_frame(self) -> int: ...

    @property
    def fps(self) -> float:
        """World frames per second."""
        ...

    # Simulators that tell the state of their objects also have `object_columns`, a tuple of
    # `worldeval.data.columns.ColumnGroup` for the numbers of `EnvFrame.objects`.

    def reset(self, seed: int) -> EnvFrame:
        """Begin the episode that is determined by `seed` alone."""
        ...

    def step(self, action: Float32[Array, " a"], *, look: bool = True) -> EnvFrame:
        """Apply one world frame's action. Without `look`, no image is rendered."""
        ...

    def close(self) -> None: ...
