"""Steer a world model manually, one chunk of world frames at a time; chunks can be undone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, UInt8
from worldeval.errors import UserError
from worldeval.record import Rollout, Start
from worldeval.world.body import HAND, Body, CommandedColumn, hand_body
from worldeval.world.protocol import WorldModel, WorldSpec
from worldeval.world.recipe import ActuationRecipe

# Per world frame, for absolute actions at full deflection: metres, and elsewhere a share of the
# recorded range of the action.
REACH, REACH_SHARE = 0.02, 0.02
BY_HAND = "by hand"


@dataclass(frozen=True, kw_only=True)
class Stick:
    """Joystick axes, each from -1 to 1."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    gripper: float = 0.0

    @property
    def move(self) -> Float32[Array, "3"]:
        """Direction of motion of the robot."""
        return np.array([self.x, self.y, self.z], np.float32)


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Convert a joystick's axes to a world frame's action.

    The axes move the first three numbers of the robot's position that its actions command: x, y and
    z of a hand, a point in the plane, or joints. Full deflection is the largest recorded step of
    deltas and velocities; targets continue from the newest pose. The gripper of a single hand (the
    last number) follows the stick; all else stays at rest.
    """

    spec: WorldSpec
    body: Body

    def __post_init__(self) -> None:
        spec, body = self.spec, self.body
        if not self.axes or len(body.motion) * body.steps != spec.action_dim:
            raise UserError(
                f"This world takes {spec.action_dim} values per frame, and it is not known which "
                "of them move the robot, so it cannot be controlled manually. Worlds can if their "
                "dataset describes its columns (in a map) or their recipe sets actuation.scale."
            )
        if lost := [
            column
            for column, motion in enumerate(body.motion)
            if motion in ("absolute", "unknown") and self._held(column) is None
            and column != self._gripper
        ]:  # fmt: skip
            raise UserError(
                f"The numbers {', '.join(str(column + 1) for column in lost)} of this world's "
                "actions are targets, and no number of the pose is known to be their present "
                "value, so they cannot be held still and the world cannot be controlled manually. "
                "Name what they command in a map of the dataset."
            )

    @property
    def axes(self) -> tuple[CommandedColumn, ...]:
        """Columns that the stick's x, y and z move; at most three."""
        moving = [each for each in self.body.commands if each.pose in self.body.place]
        return tuple(each for each in moving if each.pose < self.spec.pose_dim)[:3]

    def action(self, stick: Stick, pose: Float32[Array, " p"]) -> Float32[Array, " a"]:
        """Return the action of one world frame."""
        body, width = self.body, len(self.body.motion)
        step = np.zeros(width, np.float32)
        factor = {each.action: each.factor for each in body.commands}
        for column, motion in enumerate(body.motion):
            here = self._held(column)
            if motion in ("absolute", "unknown") and here is not None:
                step[column] = pose[here] / factor.get(column, 1.0)
        low, high = self.spec.low[:width], self.spec.high[:width]
        for axis, push in zip(self.axes, stick.move, strict=False):
            column = axis.action
            if axis.motion != "absolute":
                step[column] = push * (high[column] if push > 0 else -low[column])
            elif body.metres:
                step[column] += REACH / axis.factor * push
            else:
                step[column] += REACH_SHARE * (high[column] - low[column]) * push
        if self._gripper is not None:
            step[self._gripper] = stick.gripper
        return np.tile(step, body.steps)

    @property
    def _gripper(self) -> int | None:
        """The last number of a single hand's action, after its x, y and z."""
        body, last = self.body, len(self.body.motion) - 1
        taken = {each.action for each in body.commands}
        return last if body.place == HAND and body.metres and last not in taken else None

    def _held(self, column: int) -> int | None:
        """The pose column that holds what an action column commands. Columns without a command take
        the pose's own number if all commanded ones do."""
        for each in self.body.commands:
            if each.action == column:
                return each.pose
        same = all(each.action == each.pose for each in self.body.commands)
        return column if same and column < self.spec.pose_dim else None


def controls_of(spec: WorldSpec, recipe: ActuationRecipe | None) -> Controls:
    """Return the controls of a world.

    Worlds that were saved without a body are an end effector, as their `recipe` describes it.

    Raises:
        UserError: it is not known what the world's actions do.
    """
    body = spec.body
    if body is None:
        recipe = recipe or ActuationRecipe()
        if spec.action_dim < len(HAND) or (recipe.scale and spec.action_dim % recipe.step_dim):
            body = Body(place=HAND)
        else:
            body = hand_body(recipe, action_dim=spec.action_dim)
    return Controls(spec=spec, body=body)


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
        none = np.zeros((0, self.world.spec.action_dim), np.float32)
        return Rollout(
            start=self.start.id,
            task=self.start.task,
            policy=BY_HAND,
            seed=self.seed,
            actions=np.stack(self._actions) if self._actions else none,
            pose=self.pose,
            latents=np.stack(self._latents).astype(np.float16),
        )
