"""Steer a world model manually, one chunk of world frames at a time; chunks can be undone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, UInt8
from worldeval.errors import UserError
from worldeval.record import Rollout, Start
from worldeval.world.protocol import WorldModel

REACH = 0.02  # metres per world frame, for absolute actions at full deflection
HAND = "by hand"


@dataclass(frozen=True, kw_only=True)
class Stick:
    """Joystick axes, each from -1 to 1."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    gripper: float = 0.0

    @property
    def move(self) -> Float32[Array, "3"]:
        """Direction of motion of the gripper."""
        return np.array([self.x, self.y, self.z], np.float32)


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Convert a joystick's axes to a world frame's action.

    Delta actions repeat `move, gripper` for every step within the frame. Absolute actions (target
    poses) continue from the newest pose.
    """

    action_dim: int
    step_dim: int  # numbers per controller step of the robot
    absolute: bool

    def __post_init__(self) -> None:
        if self.step_dim < 3 or self.action_dim % self.step_dim:
            raise UserError(
                f"This world takes {self.action_dim} values per frame in steps of "
                f"{self.step_dim}; only actions that begin with x, y, z can be controlled manually."
            )

    def action(self, stick: Stick, pose: Float32[Array, " p"]) -> Float32[Array, " a"]:
        """Return the action of one world frame."""
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
            UserError: the world was not trained on the start's task, or needs other views.
        """
        self.world, self.start, self.controls, self.seed = world, start, controls, seed
        frames = {view: image[None] for view, image in start.frames.items()}
        self._states = [world.begin(frames, start.pose[None], [start.task], [seed])]
        self._frames = [{view: image for view, image in start.frames.items()}]
        self._latents = [world.latents(self._states[0])[0]]
        self._poses = [world.pose(self._states[0])[0]]
        self._actions: list[Array] = []
        self._chunks: list[int] = []  # frames of each chunk

    def __len__(self) -> int:
        """Number of world frames so far, including the start."""
        return len(self._frames)

    def go(self, stick: Stick, frames: int) -> None:
        """Imagine a chunk of `frames` world frames with the stick held in place."""
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
        """Remove the last chunk; does nothing at the start."""
        count = self._chunks.pop() if self._chunks else 0
        for kept in (self._states, self._frames, self._latents, self._poses, self._actions):
            del kept[len(kept) - count :]

    def _within(self, action: Float32[Array, " a"]) -> Float32[Array, " a"]:
        """Scale to the range of the world's data, if the meaning of its actions is declared: full
        deflection is then the largest step, not a metre."""
        spec = self.world.spec
        return np.clip(action, spec.low, spec.high) if spec.space else action

    @property
    def frames(self) -> Mapping[str, UInt8[Array, "t h w 3"]]:
        """Return every frame so far, view by view."""
        return {
            view: np.stack([frame[view] for frame in self._frames])
            for view in self.world.spec.views
        }

    @property
    def pose(self) -> Float32[Array, "t p"]:
        """Predicted proprioception, beginning with the start's."""
        return np.stack(self._poses)

    @property
    def rollout(self) -> Rollout:
        """Return the episode in the form that judges take."""
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
