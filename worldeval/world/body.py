"""Which numbers of a robot's pose are its position, and which of them its actions command.

A world model needs little knowledge of a robot: which columns of the pose give its position (for
memory, for drawing it, for errors), and which columns of an action set or move them. Both follow
from what the dataset says its columns mean (data/columns.py): one or several end effectors, joints,
a planar position, a mobile base. Columns without a declared meaning are learned as plain numbers.
"""

from dataclasses import dataclass, field
from typing import Literal

from worldeval.data.columns import ColumnGroup, ColumnMeanings, Groups, Means, spans
from worldeval.errors import UserError
from worldeval.world.recipe import ActuationRecipe

Motion = Literal["absolute", "delta", "velocity", "unknown"]
PLACES: tuple[Means, ...] = ("position", "planar", "base")
COMMANDED: tuple[Means, ...] = ("position", "planar", "joint")  # types whose deltas simply add up


@dataclass(frozen=True, kw_only=True)
class CommandedColumn:
    """A pose column and the column of a controller step's action that commands it."""

    pose: int
    action: int
    motion: Literal["absolute", "delta", "velocity"]
    factor: float = 1.0  # pose units per action unit
    name: str = field(default="", compare=False)  # of the pose column, with its arm


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a world knows about the robot whose poses and actions it was trained on."""

    place: tuple[int, ...] = (0, 1, 2)  # pose columns that give the robot's position
    unit: str = "m"  # of the position: m, px, rad, ...; "" if unknown or mixed
    commands: tuple[CommandedColumn, ...] = ()
    # Meaning of each number of one controller step's action; empty if nothing is known.
    motion: tuple[Motion, ...] = ()
    steps: int = 1  # controller steps in a world frame's action
    # Columns where a roll, pitch, yaw in radians begins: of a pose, and of a world frame's action.
    # Empty where rotations are in a form without jumps, as most worlds train them.
    angles: tuple[int, ...] = ()
    action_angles: tuple[int, ...] = ()

    @property
    def commanded(self) -> tuple[int, ...]:
        """Pose columns that have a command."""
        return tuple(command.pose for command in self.commands)

    @property
    def metres(self) -> bool:
        """Whether the position is in metres."""
        return self.unit == "m"


# An end effector whose x, y and z (m) come first in its pose: what recipes with `actuation`
# describe, and what every world was trained on before `Body` was stored with it.
HAND = (0, 1, 2)


def hand_body(recipe: ActuationRecipe, *, action_dim: int) -> Body:
    """Describe an end effector at the first three pose numbers, commanded as the recipe says.

    With a non-zero `scale`, every controller step moves the target by the action's first three
    numbers; with a `scale` of 0, those three numbers are the target.
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
    """Return the body that the dataset describes, or else the end effector in the recipe.

    Columns whose meaning was only guessed from their names may give the robot's position, but never
    what an action does. Set a recipe's `actuation.scale` for datasets that cannot describe it.

    Raises:
        UserError: the recipe describes an end effector that the data do not have, or contradicts
            them.
    """
    said = [group for group in meaning.action if not group.guessed]
    if recipe.scale:
        _refuse_scale(said, recipe, action_dim=action_dim, pose_dim=pose_dim)
        return hand_body(recipe, action_dim=action_dim)
    place, unit = _place(meaning.pose, pose_dim)
    width = sum(map(len, meaning.action))
    steps = action_dim // width if width and action_dim % width == 0 else 0
    turns = {
        "angles": _angles(meaning.pose) if _fits(meaning, pose_dim) else (),
        "action_angles": tuple(
            step * width + at for step in range(steps) for at in _angles(meaning.action)
        ),
    }
    if not steps or len(said) < len(meaning.action):
        return Body(place=place, unit=unit, **turns)
    return Body(
        place=place,
        unit=unit,
        commands=tuple(_commands(meaning.pose, meaning.action)) if _fits(meaning, pose_dim) else (),
        motion=tuple(group.motion for group in meaning.action for _ in group.names),
        steps=steps,
        **turns,
    )


def _refuse_scale(
    said: list[ColumnGroup], recipe: ActuationRecipe, *, action_dim: int, pose_dim: int
) -> None:
    what = ""
    if pose_dim < len(HAND) or recipe.step_dim < len(HAND):
        what = f"poses of {pose_dim} dimensions have no x, y and z"
    elif action_dim % recipe.step_dim:
        what = f"{action_dim} action dimensions cannot be divided into steps of {recipe.step_dim}"
    elif any(group.motion == "absolute" and group.means != "gripper" for group in said):
        what = "the dataset declares absolute actions"
    if what:
        raise UserError(
            f"The recipe's actuation.scale {recipe.scale:g} describes actions that move an end "
            f"effector's x, y and z, but {what}. Turn it off: --set actuation.scale=0."
        )


def _fits(meaning: ColumnMeanings, pose_dim: int) -> bool:
    return sum(map(len, meaning.pose)) == pose_dim


def _place(pose: Groups, pose_dim: int) -> tuple[tuple[int, ...], str]:
    """Select positions, else joints, else every column; and their unit if they share one."""
    if sum(map(len, pose)) == pose_dim:
        for wanted in (PLACES, ("joint",)):
            found = [(group, span) for group, span in spans(pose) if group.means in wanted]
            if found:
                units = {group.unit for group, _ in found}
                columns = tuple(
                    column
                    for group, span in found
                    # The angle of a planar pose is not part of the position.
                    for column in range(span.start, span.start + _axes(group))
                )
                return columns, units.pop() if len(units) == 1 else ""
    return tuple(range(pose_dim)), ""


def _angles(groups: Groups) -> tuple[int, ...]:
    return tuple(
        span.start for group, span in spans(groups) if group.form == "euler" and group.unit == "rad"
    )


def _axes(group: ColumnGroup) -> int:
    return 2 if group.means in ("planar", "base") else len(group)


def _commands(pose: Groups, action: Groups) -> list[CommandedColumn]:
    """Pair every position or joint with the same arm's action column in a compatible unit."""
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
                    name=_name(own, axis),
                )
                for axis in range(_axes(own))
            ]
    return out


def _name(group: ColumnGroup, axis: int) -> str:
    """Name a column, with its arm unless that is part of the name."""
    name = group.names[axis]
    return name if group.arm in name else f"{group.arm} {name}"


def _factor(pose: ColumnGroup, action: ColumnGroup) -> float | None:
    """Convert the action's unit to the pose's; None if the conversion is unknown."""
    if pose.factor is not None and action.factor is not None:
        return action.factor / pose.factor
    same = pose.unit == action.unit.removesuffix("/s")
    return 1.0 if same and pose.unit else None
