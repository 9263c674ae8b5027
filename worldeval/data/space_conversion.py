"""Conversion of actions from one space to another, part by part."""

import numpy as np

from worldeval.axes import Array, Float, Float32
from worldeval.data.action_space import ActionSpace
from worldeval.data.part import Part
from worldeval.data.part_conversion import convert, refusal
from worldeval.data.space_text import part_with_units, with_units
from worldeval.errors import UserError


def matched(own: ActionSpace, target: ActionSpace) -> list[tuple[Part, Part]]:
    """Pair every part of `target` with the part of `own` of that name, in the target's order.

    The only part of a robot may be without a name on one of the sides.

    Raises:
        UserError: a part has no counterpart, or cannot be converted; the message describes both.
    """
    pairs = [(_partner(own, part), part) for part in target.parts]
    if any(mine is None for mine, _ in pairs) or len(own.parts) != len(target.parts):
        raise UserError(
            f"The policy commands {with_units(own)}, the world takes {with_units(target)}. Every "
            "part needs one of the same name on the other side: rename the policy's parts in its "
            "space, or add what is missing."
        )
    found = [(mine, part) for mine, part in pairs if mine is not None]
    for mine, part in found:
        why = refusal(mine, part)
        if why:
            name = f"Part '{part.name}': the" if len(target.parts) > 1 else "The"
            raise UserError(
                f"{name} policy commands {part_with_units(mine.unnamed())}, the world takes "
                f"{part_with_units(part.unnamed())}: {why}."
            )
    return found


def into(
    own: ActionSpace,
    target: ActionSpace,
    actions: Float[Array, "t a"],
    *,
    pose: Float[Array, "t p"] | None = None,
    fps: float | None = None,
) -> Float32[Array, "t b"]:
    """Convert actions from the space `own` to `target`; parts that are equal stay as they are.

    Args:
        pose: pose of the robot at each action, in the columns of `own.still()`; needed by parts
            that are converted between absolute and relative control.
        fps: frames per second; needed by parts that are converted from or to velocities.

    Raises:
        UserError: the columns do not fit, a required argument is missing, or a part cannot be
            converted, such as joints to an end effector, which needs the robot's kinematics.
    """
    _fits(own, actions, "actions")
    if pose is not None:
        _fits(own.still(), pose, "pose")
    columns = {part.name: span for part, span in own.spans()}
    out = []
    for mine, part in matched(own, target):
        span = columns[mine.name]
        here = None if pose is None else pose[:, span]
        try:
            out.append(convert(mine, part, actions[:, span], pose=here, fps=fps))
        except UserError as error:
            name = f"Part '{part.name}': " if len(target.parts) > 1 else ""
            raise UserError(f"{name}{error}") from error
    return np.concatenate(out, axis=1).astype(np.float32)


def _partner(own: ActionSpace, part: Part) -> Part | None:
    alone = own.alone
    if alone is not None and "" in (alone.name, part.name):
        return alone
    return next((each for each in own.parts if each.name == part.name), None)


def _fits(space: ActionSpace, values: Float[Array, "t a"], what: str) -> None:
    if values.shape[1] != space.size:
        raise UserError(
            f"{what} have {values.shape[1]} columns; {with_units(space)} has {space.size}."
        )
