"""Controls of a world model that is driven by hand: directions, and the actions they stand for."""

from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.errors import UserError
from worldeval.world.body import HAND, Body, CommandedColumn, hand_body
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe

# Per world frame, for absolute actions at full deflection: metres, and elsewhere a share of the
# recorded range of the action.
REACH, REACH_SHARE = 0.02, 0.02


@dataclass(frozen=True, kw_only=True)
class Stick:
    """How far each direction is pushed, from -1 to 1; directions beyond the last stay at rest."""

    push: tuple[float, ...] = ()
    gripper: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Convert a joystick's axes to a world frame's action.

    The axes move the numbers of the robot's position that its actions command: x, y and z of every
    hand, a point in the plane, or joints. Full deflection is the largest recorded step of deltas
    and velocities; targets continue from the newest pose. The gripper of a single hand (the last
    number) follows the stick; all else stays at rest.
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
        """Columns that the stick's directions move, in their order."""
        moving = [each for each in self.body.commands if each.pose in self.body.place]
        return tuple(each for each in moving if each.pose < self.spec.pose_dim)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the directions: those of the dataset's columns, or x, y and z of a hand."""
        hand = self.body.place == HAND and self.body.metres
        return tuple(
            axis.name or ("xyz"[axis.pose] if hand else f"position {order}")
            for order, axis in enumerate(self.axes, start=1)
        )

    @property
    def grips(self) -> bool:
        """Whether the stick moves a gripper."""
        return self._gripper is not None

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
        for axis, push in zip(self.axes, stick.push, strict=False):
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
