"""Action spaces as short texts, for addresses, messages between machines, and errors.

`ee-absolute(euler)+1`: position in metres, roll pitch yaw in radians, one gripper column.
`left arm: joint-position(6)+1, right arm: joint-position(6,deg)+1, base: velocity(3)`: two arms of
six joints and a gripper each, one of them in degrees, and a base that moves by x, y and an angle.

A part is `control(rotation or number of columns, units)+gripper columns`. Without units it is in
metres and radians (per second); `?` is a unit that is not known. `+1[1:-1]` is a gripper that is
open at 1 and closed at -1.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import cast, get_args

from worldeval.data.action_space import ActionSpace
from worldeval.data.part import ANGLES, CONTROLS, KINDS, LENGTHS, UNKNOWN, Control, Part
from worldeval.data.rotation import StoredForm
from worldeval.errors import UserError, did_you_mean

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
FORM = re.compile(
    rf"(?:([^:(),+\[\]]+):)?\s*([a-z-]+)(?:\(([^()]*)\))?(?:\+(\d+))?"
    rf"(?:\[({NUMBER}):({NUMBER})\])?"
)
OUTSIDE = re.compile(r",(?![^()]*\))")  # a comma that is not in brackets
ROTATIONS = (*get_args(StoredForm), "xyz")
GRIPPED = ("end-effector", "joints")  # have one gripper column where the text does not say
LONGEST = 1000


def write_space(space: ActionSpace) -> str:
    """Format a space as the text that `read_space` parses."""
    return ", ".join(map(_written, space.parts))


def read_space(text: str) -> ActionSpace:
    """Parse a text into a space.

    Raises:
        UserError: the form, control, rotation or unit is not supported.
    """
    parts = tuple(_part(each, text) for each in OUTSIDE.split(text))
    try:
        return ActionSpace(parts=parts)
    except ValueError as error:
        raise UserError(f"'{text}' is not a valid action space: {error}.") from error


def with_units(space: ActionSpace) -> str:
    """Describe a space for error messages: its text, size, columns and units."""
    return ", ".join(map(part_with_units, space.parts))


def part_with_units(part: Part) -> str:
    """Describe one part for error messages."""
    names = part.names
    columns = ", ".join(names) if len(names) <= 12 else f"{names[0]} to {names[-1]}"
    units = _units(part)
    inside = f"{part.size} values: {columns}" + (f"; {units}" if units else "")
    return f"{_written(part)} ({inside})"


def _written(part: Part) -> str:
    plain = Part(
        control=part.control, rotation=part.rotation, columns=part.columns, gripper=part.gripper
    )
    inside = part.rotation if part.family == "end-effector" else str(part.columns or part.size)
    units = _in_units(part, (part.unit, part.angle))
    if part.angle == plain.angle:
        units = [] if part.unit == plain.unit else units[:1]
    out = f"{part.name}: " if part.name else ""
    out += f"{part.control}({','.join([inside, *units])})"
    if part.family != "gripper" and (part.gripper or part.family in GRIPPED):
        out += f"+{part.gripper}"
    return out if part.ends is None else f"{out}[{part.ends[0]:g}:{part.ends[1]:g}]"


def _part(text: str, whole: str) -> Part:
    found = FORM.fullmatch(text.strip())
    if not found:
        raise UserError(
            f"'{whole}' is not a valid action space. Write control(rotation or columns)+gripper "
            "columns, such as ee-absolute(euler)+1 or joint-velocity(7)+1; of several parts, "
            "left: joint-position(6)+1, base: velocity(3)."
        )
    name, named, inside, gripper, opened, closed = found.groups()
    if named not in CONTROLS:
        raise UserError(f"Unknown control '{named}'.{did_you_mean(named, CONTROLS)}")
    control = cast(Control, named)
    family = KINDS[control][0]
    said = [each.strip() for each in (inside or "").split(",")]
    count = int(gripper) if gripper is not None else int(family in GRIPPED)
    if count > LONGEST:
        raise UserError(f"'{whole}': {count} gripper columns are too many.")
    ends = (float(opened), float(closed)) if opened is not None else None
    try:
        part = _sized(control, said[0], whole)
        if family == "gripper":
            count = part.gripper
        part = replace(part, name=(name or "").strip(), gripper=count, ends=ends)
        return replace(part, **_unit(part, [each for each in said[1:] if each], text))
    except ValueError as error:
        raise UserError(f"'{text.strip()}': {error}.") from error


def _sized(control: Control, kind: str, whole: str) -> Part:
    family = KINDS[control][0]
    if family == "end-effector":
        form = kind or ("axis-angle" if control == "ee-velocity" else "euler")
        if form not in ROTATIONS:
            raise UserError(f"Unknown form of rotation '{form}'.{did_you_mean(form, ROTATIONS)}")
        return Part(control=control, rotation=form, gripper=1)  # type: ignore[arg-type]
    what = "joints" if family == "joints" else "columns"
    default = {"joints": 7, "gripper": 1}.get(family)
    if (kind and not (kind.isascii() and kind.isdigit())) or (not kind and default is None):
        raise UserError(f"'{whole}': {control} needs a number of {what}, such as {control}(3).")
    columns = int(kind or default or 0)
    if columns > LONGEST:
        raise UserError(f"'{whole}': {columns} {what} are too many.")
    if family == "gripper":
        return Part(control=control, gripper=columns)
    return Part(control=control, columns=columns, gripper=1)


def _unit(part: Part, said: list[str], text: str) -> dict[str, str]:
    """The units of a part, from what stands after its columns."""
    known = {
        "end-effector": (LENGTHS, ANGLES),
        "joints": ((*ANGLES[:-1], *LENGTHS),),
        "plane": (LENGTHS, ANGLES),
    }
    fitting = known.get("plane" if part.family == "base" else part.family, ())
    allowed = [_in_units(part, each) for each in fitting]
    bare = [each.removesuffix("/s") for each in said]
    fits = all(each in units for each, units in zip(said, allowed, strict=False))
    if not fits or len(said) > len(allowed):
        units = " and ".join(" or ".join(each) for each in allowed) or "no unit"
        raise UserError(
            f"'{text.strip()}' is in {', '.join(said)}; {part.control} is in {units} here. Convert "
            "the policy's actions, or wrap it in code that does."
        )
    return dict(zip(("unit", "angle"), bare, strict=False))


def _units(part: Part) -> str:
    """The units of a part's columns, in words."""
    if part.family in ("gripper", "numbers"):
        return ""
    both = part.family == "end-effector" or part.angled
    return ",".join(_in_units(part, (part.unit, part.angle) if both else (part.unit,)))


def _in_units(part: Part, units: Sequence[str]) -> list[str]:
    per = "/s" if part.motion == "velocity" else ""
    return [unit if unit == UNKNOWN else unit + per for unit in units]
