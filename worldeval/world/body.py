"""The body of a robot, of any kind: which numbers say where it is, and which of them are commanded.

A world model needs to know little of a robot: the columns of the pose that are a place (for memory,
for where it is drawn, for errors), and which columns of an action say where these are to be or how
far to move. Both are read from what the data say their columns mean (data/columns.py): one end
effector or several, joints, a place in the plane, a base. What nobody said is learned as it is.
"""

from dataclasses import dataclass
from typing import Literal

from worldeval.data.columns import ColumnGroup, ColumnMeanings, Groups, Means, spans
from worldeval.errors import UserError
from worldeval.world.recipe import ActuationRecipe

Motion = Literal["absolute", "delta", "velocity", "unknown"]
PLACES: tuple[Means, ...] = ("position", "planar", "base")
COMMANDED: tuple[Means, ...] = ("position", "planar", "joint")  # whose deltas simply add up


@dataclass(frozen=True, kw_only=True)
class CommandedColumn:
    """A column of the pose and the column of a controller step's action that commands it."""

    pose: int
    action: int
    motion: Literal["absolute", "delta", "velocity"]
    factor: float = 1.0  # units of the pose for one unit of the action


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a world knows of the robot whose poses and actions it was trained on."""

    place: tuple[int, ...] = (0, 1, 2)  # columns of the pose that say where the robot is
    unit: str = "m"  # of the place: m, px, rad, ...; "" where nobody said or several
    commands: tuple[CommandedColumn, ...] = ()
    # What each number of one controller step's action is; empty: of all of them nothing is known.
    motion: tuple[Motion, ...] = ()
    steps: int = 1  # controller steps in a world frame's action

    @property
    def commanded(self) -> tuple[int, ...]:
        """Columns of the pose for which there is a command."""
        return tuple(command.pose for command in self.commands)

    @property
    def metres(self) -> bool:
        """Whether the place is in metres."""
        return self.unit == "m"


# A hand whose x, y and z (m) come first in its pose: what recipes with `actuation` describe, and
# what every world before bodies were kept was trained on.
HAND = (0, 1, 2)


def hand_body(recipe: ActuationRecipe, *, action_dim: int) -> Body:
    """A hand at the first three numbers of the pose, commanded as the recipe says.

    With `scale` every controller step moves the target by its first three numbers; with 0 an
    action's first three numbers are the target.
    """
    delta = bool(recipe.scale)
    step = recipe.step_dim if delta else action_dim
    motion: Motion = "delta" if delta else "absolute"
    return Body(
        place=HAND,
        commands=tuple(
            CommandedColumn(
                pose=axis, action=axis, motion=motion, factor=recipe.scale if delta else 1.0
            )
            for axis in HAND
        ),
        motion=(motion,) * step,
        steps=max(action_dim // step, 1),
    )


def body_of(
    meaning: ColumnMeanings, recipe: ActuationRecipe, *, action_dim: int, pose_dim: int
) -> Body:
    """The body that the data describe, or the hand that the recipe describes.

    Columns whose meaning is a guess by their names say where the robot is, and never what an action
    does. A recipe's `actuation.scale` is for data that cannot say it themselves.

    Raises:
        UserError: the recipe describes a hand that the data do not have, or contradicts them.
    """
    said = [group for group in meaning.action if not group.guessed]
    if recipe.scale:
        _refuse_scale(said, recipe, action_dim=action_dim, pose_dim=pose_dim)
        return hand_body(recipe, action_dim=action_dim)
    place, unit = _place(meaning.pose, pose_dim)
    width = sum(map(len, meaning.action))
    if not width or action_dim % width or len(said) < len(meaning.action):
        return Body(place=place, unit=unit)
    return Body(
        place=place,
        unit=unit,
        commands=tuple(_commands(meaning.pose, meaning.action)) if _fits(meaning, pose_dim) else (),
        motion=tuple(group.motion for group in meaning.action for _ in group.names),
        steps=action_dim // width,
    )


def _refuse_scale(
    said: list[ColumnGroup], recipe: ActuationRecipe, *, action_dim: int, pose_dim: int
) -> None:
    what = ""
    if pose_dim < len(HAND) or recipe.step_dim < len(HAND):
        what = f"poses of {pose_dim} numbers have no x, y and z"
    elif action_dim % recipe.step_dim:
        what = f"actions of {action_dim} numbers are not steps of {recipe.step_dim}"
    elif any(group.motion == "absolute" and group.means != "gripper" for group in said):
        what = "the data say that their actions are absolute"
    if what:
        raise UserError(
            f"The recipe's actuation.scale {recipe.scale:g} is for steps that move a hand's x, y "
            f"and z, and {what}. Leave it out: --set actuation.scale=0."
        )


def _fits(meaning: ColumnMeanings, pose_dim: int) -> bool:
    return sum(map(len, meaning.pose)) == pose_dim


def _place(pose: Groups, pose_dim: int) -> tuple[tuple[int, ...], str]:
    """Positions, else joints, else everything; and their unit, where they share one."""
    if sum(map(len, pose)) == pose_dim:
        for wanted in (PLACES, ("joint",)):
            found = [(group, span) for group, span in spans(pose) if group.means in wanted]
            if found:
                units = {group.unit for group, _ in found}
                columns = tuple(
                    column
                    for group, span in found
                    # The angle of a place in the plane is no place.
                    for column in range(span.start, span.start + _axes(group))
                )
                return columns, units.pop() if len(units) == 1 else ""
    return tuple(range(pose_dim)), ""


def _axes(group: ColumnGroup) -> int:
    return 2 if group.means in ("planar", "base") else len(group)


def _commands(pose: Groups, action: Groups) -> list[CommandedColumn]:
    """Every place or joint that the action of the same arm commands in a unit that fits."""
    out = []
    for own, where in spans(pose):
        for group, span in spans(action):
            alike = (group.means, group.arm) == (own.means, own.arm)
            if not alike or own.means not in COMMANDED or len(group) != len(own):
                continue
            factor = _factor(own, group)
            if factor is None or group.frame != own.frame:
                continue
            out += [
                CommandedColumn(
                    pose=where.start + axis,
                    action=span.start + axis,
                    motion=group.motion,
                    factor=factor,
                )
                for axis in range(_axes(own))
            ]
    return out


def _factor(pose: ColumnGroup, action: ColumnGroup) -> float | None:
    """What turns the action's unit into the pose's; None where that is not known."""
    if pose.factor is not None and action.factor is not None:
        return action.factor / pose.factor
    same = pose.unit == action.unit.removesuffix("/s")
    return 1.0 if same and pose.unit else None
