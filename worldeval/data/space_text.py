"""Action spaces as short texts, for addresses, messages between machines, and errors.

`ee-absolute(euler)+1`: position in metres, roll pitch yaw in radians, one gripper column.
`joint-velocity(7)+1`: seven joints in rad/s and a gripper. Units are those of `ActionSpace`; a text
that asks for others (`joint-position(7,deg)`) is refused.
"""

import re
from typing import cast, get_args

from worldeval.data.action_space import END_EFFECTOR, ActionSpace, Control
from worldeval.data.rotation import SIZES
from worldeval.errors import UserError, did_you_mean

FORM = re.compile(r"([a-z-]+)(?:\(([^)]*)\))?(?:\+(\d+))?")
UNITS = {"ee-absolute": "m,rad", "ee-delta": "m,rad"}
UNITS |= {"joint-position": "rad", "joint-velocity": "rad/s"}


def write_space(space: ActionSpace) -> str:
    """Format a space as the text that `read_space` parses."""
    inside = space.rotation if space.control in END_EFFECTOR else str(space.joints)
    return f"{space.control}({inside})+{space.gripper}"


def read_space(text: str) -> ActionSpace:
    """Parse a text into a space.

    Raises:
        UserError: the form, control, rotation or unit is not supported.
    """
    found = FORM.fullmatch(text.strip())
    if not found:
        raise UserError(
            f"'{text}' is not a valid action space. Write control(rotation or joints)+gripper "
            "columns, such as ee-absolute(euler)+1 or joint-velocity(7)+1."
        )
    named, inside, gripper = found.groups()
    if named not in get_args(Control):
        raise UserError(f"Unknown control '{named}'.{did_you_mean(named, get_args(Control))}")
    control = cast(Control, named)
    kind, _, unit = (inside or "").partition(",")
    if unit and unit.replace(" ", "") != UNITS[control]:
        raise UserError(
            f"'{text}' is in {unit.strip()}; {control} is in {UNITS[control]} here. Convert the "
            "policy's actions, or wrap it in code that does."
        )
    columns = int(gripper) if gripper is not None else 1
    if control in END_EFFECTOR:
        form = kind or "euler"
        if form not in SIZES:
            raise UserError(f"Unknown form of rotation '{form}'.{did_you_mean(form, SIZES)}")
        return ActionSpace(control=control, rotation=form, gripper=columns)  # type: ignore[arg-type]
    if kind and not kind.isdigit():
        raise UserError(f"'{text}': {control} needs a number of joints, such as {control}(7)+1.")
    return ActionSpace(control=control, joints=int(kind or 7), gripper=columns)


def with_units(space: ActionSpace) -> str:
    """Describe a space for error messages: its text, size, columns and units."""
    columns, units = ", ".join(space.names), UNITS[space.control]
    return f"{write_space(space)} ({space.size} values: {columns}; {units})"
