"""The interface of world models: begin from real frames, step by one world frame, render."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol, runtime_checkable

import numpy as np

from worldeval.axes import Array, Float, Float32, UInt8
from worldeval.world.body import HAND, Body
from worldeval.world.turned import Turned

LARGEST = 2**16  # of every size; beyond it a card is damaged

ANY_TASK = "any"  # the only task of a world whose dynamics do not depend on the task


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """The data that a world model was trained on; starts and actions must match it."""

    views: tuple[str, ...]
    size: tuple[int, int]  # height, width of a view in pixels
    latent: tuple[int, int, int]  # d h w of one view's latent
    action_dim: int  # of one world frame
    pose_dim: int
    tasks: tuple[str, ...]  # those it distinguishes; `ANY_TASK` alone accepts every task
    fps: float
    # Instructions of the training episodes, if the model reads text instead of task labels.
    instructions: tuple[str, ...] = ()
    # What the numbers of an action mean, as data/space_text.py writes it; "" is the world's own.
    space: str = ""
    # What the numbers of the pose mean, in the same notation; "" where the dataset does not say.
    pose_space: str = ""
    # The range of every number of an action, or one range for all of them.
    action_low: tuple[float, ...] = (-1.0,)
    action_high: tuple[float, ...] = (1.0,)
    # Which numbers give the robot's position and which command it. None in worlds saved before this
    # field existed: an end effector whose x, y and z come first.
    body: Body | None = None

    def __post_init__(self) -> None:
        sizes = (*self.size, *self.latent, self.action_dim)
        if min(sizes) < 1 or max(sizes) > LARGEST or self.pose_dim < 0:
            raise ValueError(
                f"sizes of a world must be 1 to {LARGEST}, but are views {self.views}, size "
                f"{self.size}, latent {self.latent}, action_dim {self.action_dim}, pose_dim "
                f"{self.pose_dim}"
            )
        if not (isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps is {self.fps}, and must be above 0")
        for name in ("action_low", "action_high"):
            count = len(getattr(self, name))
            if count not in (1, self.action_dim):
                raise ValueError(
                    f"{name} has {count} values; expected 1 or {self.action_dim}, the size of an "
                    "action"
                )
        if not (self.low <= self.high).all():
            raise ValueError(f"action_low {self.action_low} is above action_high")

    def knows(self, task: str) -> bool:
        """Whether an episode may have this `task`; any text if tasks are not distinguished."""
        return self.tasks == (ANY_TASK,) or task in self.tasks

    @property
    def place(self) -> tuple[int, ...]:
        """Pose columns that give the robot's position."""
        return HAND[: self.pose_dim] if self.body is None else self.body.place

    @property
    def metres(self) -> bool:
        """Whether the position is in metres."""
        return self.body is None or self.body.metres

    @property
    def commanded(self) -> tuple[int, ...]:
        """Pose columns that actions command."""
        return HAND if self.body is None else self.body.commanded

    @property
    def turned_pose(self) -> Turned:
        """How to write a pose without angles that jump."""
        first = () if self.body is None else self.body.angles
        return Turned(width=self.pose_dim, first=first)

    @property
    def turned_action(self) -> Turned:
        """How to write a frame's action without angles that jump."""
        first = () if self.body is None else self.body.action_angles
        return Turned(width=self.action_dim, first=first)

    def place_error(self, difference: Float[Array, "n p"]) -> tuple[str, Float[Array, " n"]]:
        """Return the name and the size of position errors, from differences of poses.

        `hand_mm` is in millimetres; without metres, `place_error` is in the position's own unit.
        """
        size = np.linalg.norm(difference[:, list(self.place)], axis=1)
        return ("hand_mm", size * 1000) if self.metres else ("place_error", size)

    @property
    def place_unit(self) -> str:
        """Unit in which position errors are shown: mm, px, rad, ...; "" if it is not known."""
        return "mm" if self.body is None or self.body.metres else self.body.unit

    @property
    def low(self) -> Float32[Array, " a"]:
        """Lower bound of every number of an action."""
        return np.broadcast_to(np.array(self.action_low, np.float32), self.action_dim)

    @property
    def high(self) -> Float32[Array, " a"]:
        """Upper bound of every number of an action."""
        return np.broadcast_to(np.array(self.action_high, np.float32), self.action_dim)


@runtime_checkable
class WorldModel(Protocol):
    """An action-conditioned world that a batch of episodes steps through together.

    The state's type is up to the world: histories of latents, poses and actions, and the memory of
    each episode.
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
        """Begin a state at observed frames."""
        ...

    def step(self, state: Any, actions: Float32[Array, "b a"]) -> Any:
        """Advance the state by one world frame."""
        ...

    def latents(self, state: Any) -> Float32[Array, "b v d h w"]:
        """Return the newest latents of every view."""
        ...

    def pose(self, state: Any) -> Float32[Array, "b p"]:
        """Return the newest predicted proprioception, in the robot's units."""
        ...

    def render(
        self, latents: Float32[Array, "n v d y x"], tasks: Sequence[str]
    ) -> dict[str, UInt8[Array, "n h w 3"]]:
        """Decode latents of episodes of `tasks` into frames, view by view."""
        ...
