"""How to make a robot rest, and how to mirror its motion, by its actions; and how this is known."""

from dataclasses import dataclass

from worldeval.data.space_text import read_space
from worldeval.world.body import HAND, Body
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the numbers of a world frame's action do.

    Columns of `mirrored` move the robot's position. A column of `held` is a target; at rest it
    keeps its first value, while every other column is zero.
    """

    absolute: bool | None  # whether all columns are held, or none (False); None: mixed or unknown
    held: tuple[int, ...] | None  # None: nothing is known of the action
    mirrored: tuple[int, ...]  # empty: it is not known which columns move the position
    said_by: str  # the source of this information, in words


def meaning_of(spec: WorldSpec, space: str, actuation: ActuationRecipe) -> Meaning:
    """Interpret the actions of a world by what its data say of them.

    The world's own `body` comes first, then the dataset's action `space`. Worlds that were saved
    without a body are an end effector whose x, y and z come first, as their recipe describes it.
    """
    width, body = spec.action_dim, spec.body
    if body is None:
        return _of_hand(space, actuation, width=width)
    if body.motion:
        return _of_body(body, actuation, width=width)
    if space:
        return _of_space(space, width=width)
    return Meaning(
        absolute=None,
        held=None,
        mirrored=(),
        said_by="unknown: the dataset does not say what its actions do; describe them in a map",
    )


def _of_body(body: Body, actuation: ActuationRecipe, *, width: int) -> Meaning:
    step = len(body.motion)
    moving = [each.action for each in body.commands if each.pose in body.place]
    said = (
        f"the world's recipe moves by actuation.scale {actuation.scale}"
        if actuation.scale
        else "the meaning of the dataset's columns"
    )
    held = _every_step(
        [column for column, motion in enumerate(body.motion) if motion == "absolute"], step, width
    )
    return Meaning(
        absolute=_all_or_none(held, width),
        held=None if "unknown" in body.motion else held,
        mirrored=_every_step(moving, step, width),
        said_by=said,
    )


def _of_space(space: str, *, width: int) -> Meaning:
    read = read_space(space)
    held = [column for column, target in enumerate(read.targets) if target]
    held = _every_step(held, read.size, width)
    return Meaning(
        absolute=_all_or_none(held, width) if read.known else None,
        held=held if read.known else None,
        mirrored=_every_step(list(read.moving), read.size, width),
        said_by=f"the dataset: {space}",
    )


def _of_hand(space: str, actuation: ActuationRecipe, *, width: int) -> Meaning:
    """A scale of 0, the default, does not distinguish absolute actions from a recipe that leaves it
    open; actions are then taken for absolute, and `said_by` notes the assumption."""
    if space:
        absolute, step = read_space(space).absolute, width
        said = f"the dataset: {space}"
    elif actuation.scale:
        absolute, step = False, actuation.step_dim
        said = f"the world's recipe moves by actuation.scale {actuation.scale}"
    else:
        absolute, step = True, width
        said = "assumed: the dataset declares no action space, and actuation.scale is 0"
    return Meaning(
        absolute=absolute,
        held=tuple(range(width)) if absolute else (),
        mirrored=_every_step(list(HAND), step, width),
        said_by=said,
    )


def _all_or_none(held: tuple[int, ...], width: int) -> bool | None:
    return None if 0 < len(held) < width else bool(held)


def _every_step(columns: list[int], step: int, width: int) -> tuple[int, ...]:
    """The same columns of every controller step in an action."""
    return tuple(begin + column for begin in range(0, width, step) for column in columns
                 if begin + column < width)  # fmt: skip
