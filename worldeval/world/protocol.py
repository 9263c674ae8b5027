"""What every world model offers: begin from real frames, step by one world frame, render."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from worldeval.axes import Array, Float32, UInt8


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """The data that a world model was trained on, which a start must match."""

    views: tuple[str, ...]
    size: tuple[int, int]  # height, width of a view in pixels
    latent: tuple[int, int, int]  # d h w of one view's latent
    action_dim: int  # of one world frame
    pose_dim: int
    tasks: tuple[str, ...]
    fps: float


@runtime_checkable
class WorldModel(Protocol):
    """An action-conditioned world that many episodes step through together.

    `State` is the world's own: histories of latents, poses and actions, and each episode's memory.
    """

    @property
    def spec(self) -> WorldSpec: ...

    def begin(
        self,
        frames: Mapping[str, UInt8[Array, "b h w 3"]],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> Any:
        """A state at observed frames."""
        ...

    def step(self, state: Any, actions: Float32[Array, "b a"]) -> Any:
        """The state one world frame later."""
        ...

    def latents(self, state: Any) -> Float32[Array, "b v d h w"]:
        """The newest latents of every view."""
        ...

    def pose(self, state: Any) -> Float32[Array, "b p"]:
        """The newest predicted proprioception, in the robot's units."""
        ...

    def render(
        self, latents: Float32[Array, "n v d y x"], tasks: Sequence[str]
    ) -> dict[str, UInt8[Array, "n h w 3"]]:
        """Decode latents of episodes of `tasks` into frames, view by view."""
        ...
