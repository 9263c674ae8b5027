"""Steering a world model by hand, one chunk of world frames at a time; chunks can be undone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, UInt8
from worldeval.errors import UserError
from worldeval.record import Rollout, Start
from worldeval.world.protocol import WorldModel

REACH = 0.02  # metres a world frame, of absolute actions at full deflection
HAND = "by hand"


@dataclass(frozen=True, kw_only=True)
class Stick:
    """Where the person pushes: each from -1 to 1."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    gripper: float = 0.0

    @property
    def move(self) -> Float32[Array, "3"]:
        """Direction of the hand."""
        return np.array([self.x, self.y, self.z], np.float32)


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How a stick becomes a world frame's action.

    Delta actions repeat `move, gripper` for every step within the frame. Absolute ones (a pose to
    go to) carry on from the newest pose.
    """

    action_dim: int
    step_dim: int  # numbers of one of the robot's own steps
    absolute: bool

    def __post_init__(self) -> None:
        if self.step_dim < 3 or self.action_dim % self.step_dim:
            raise UserError(
                f"This world takes {self.action_dim} numbers a frame in steps of {self.step_dim}; "
                "only actions that begin with x, y, z can be given by hand."
            )

    def action(self, stick: Stick, pose: Float32[Array, " p"]) -> Float32[Array, " a"]:
        """The action of one world frame."""
        step = np.zeros(self.step_dim, np.float32)
        if self.absolute:
            kept = min(self.step_dim, len(pose))
            step[:kept] = pose[:kept]
            step[:3] += REACH * stick.move
        else:
            step[:3] = stick.move
        if self.step_dim > 3:
            step[-1] = stick.gripper
        return np.tile(step, self.action_dim // self.step_dim)


class Drive:
    """An episode that a person steers. Frame 0 is the observed start."""

    def __init__(self, world: WorldModel, start: Start, controls: Controls, *, seed: int) -> None:
        """Begin at `start`.

        Raises:
            UserError: the world never saw the start's task, or needs other views.
        """
        self.world, self.start, self.controls, self.seed = world, start, controls, seed
        frames = {view: image[None] for view, image in start.frames.items()}
        self._states = [world.begin(frames, start.pose[None], [start.task], [seed])]
        self._frames = [{view: image for view, image in start.frames.items()}]
        self._latents = [world.latents(self._states[0])[0]]
        self._poses = [world.pose(self._states[0])[0]]
        self._actions: list[Array] = []
        self._chunks: list[int] = []  # frames of each

    def __len__(self) -> int:
        """World frames so far, the start among them."""
        return len(self._frames)

    def go(self, stick: Stick, frames: int) -> None:
        """Imagine a chunk of `frames` world frames with the stick held where it is."""
        for _ in range(frames):
            state: Any = self._states[-1]
            action = self._within(self.controls.action(stick, self._poses[-1]))
            state = self.world.step(state, action[None])
            self._states.append(state)
            self._latents.append(self.world.latents(state)[0])
            self._poses.append(self.world.pose(state)[0])
            self._actions.append(action)
        if not frames:
            return
        newest = np.stack(self._latents[-frames:]).astype(np.float32)
        shown = self.world.render(newest, [self.start.task] * frames)
        self._frames += [{view: shown[view][i] for view in shown} for i in range(frames)]
        self._chunks.append(frames)

    def undo(self) -> None:
        """Take the last chunk back; nothing happens at the start."""
        count = self._chunks.pop() if self._chunks else 0
        for kept in (self._states, self._frames, self._latents, self._poses, self._actions):
            del kept[len(kept) - count :]

    def _within(self, action: Float32[Array, " a"]) -> Float32[Array, " a"]:
        """As far as the world's data went, where it says what its actions mean: a full deflection
        is then the greatest step, not a metre."""
        spec = self.world.spec
        return np.clip(action, spec.low, spec.high) if spec.space else action

    @property
    def frames(self) -> Mapping[str, UInt8[Array, "t h w 3"]]:
        """Every frame so far, view by view."""
        return {
            view: np.stack([frame[view] for frame in self._frames])
            for view in self.world.spec.views
        }

    @property
    def pose(self) -> Float32[Array, "t p"]:
        """Predicted proprioception, the start's first."""
        return np.stack(self._poses)

    @property
    def rollout(self) -> Rollout:
        """The episode as judges take it."""
        none = np.zeros((0, self.controls.action_dim), np.float32)
        return Rollout(
            start=self.start.id,
            task=self.start.task,
            policy=HAND,
            seed=self.seed,
            actions=np.stack(self._actions) if self._actions else none,
            pose=self.pose,
            latents=np.stack(self._latents).astype(np.float16),
        )
