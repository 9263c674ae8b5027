"""Conversion of one part of an action into another form: rotations, units, motions, grippers."""

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float
from worldeval.data.part import ANGLED, MOVED, PLANE, SI, UNKNOWN, Part
from worldeval.data.rotation import read_stored, write_stored
from worldeval.errors import UserError

Values = Float[Array, "t _"]
STATED = (0.0, 1.0)  # open and closed, where a gripper's values are not stated


def refusal(own: Part, target: Part) -> str:
    """Return why `own` cannot be converted to `target`, or "" if it can."""
    if own.unnamed() == target.unnamed():
        return ""
    if own.family != target.family:
        if {own.family, target.family} == {"end-effector", "joints"}:
            return (
                "converting them needs a robot's kinematics: make an adapter (worldeval adapter "
                "urdf or worldeval adapter train), and use POLICY?adapter=FOLDER"
            )
        return f"{_plural(own)} cannot become {_plural(target)}"
    if own.gripper != target.gripper:
        return f"their grippers differ ({own.gripper} and {target.gripper} columns)"
    if _ends(own, target) is None:
        return (
            "only one of them states the values of an open and a closed gripper; state the other "
            f"as well, such as +{own.gripper}[0:1]"
        )
    if own.family != "end-effector" and own.columns != target.columns:
        return f"they have {own.columns} and {target.columns} columns"
    if (own.rotation == "xyz") != (target.rotation == "xyz"):
        return "one of them has no rotation"
    if own.control != target.control and "tool-delta" in (own.control, target.control) and (
        own.rotation == "xyz"
    ):  # fmt: skip
        return "the directions of the tool are not known without its rotation"
    if _scale(own.unit, target.unit) is None:
        return _units(own.unit, target.unit)
    alike = (own.rotation, own.motion, own.angle) == (target.rotation, target.motion, target.angle)
    angled = own.angled or target.angled
    if angled and not alike and UNKNOWN in (own.angle, target.angle):
        return _units(own.angle, target.angle)
    if own.motion != target.motion and UNKNOWN in (own.unit, target.unit):
        return _units(own.unit, target.unit)
    if own.family == "base" and "absolute" in (own.motion, target.motion) and (
        own.motion != target.motion
    ):  # fmt: skip
        return "a base moves in axes of its own, so its motions do not add up to positions"
    return ""


def needs_pose(own: Part, target: Part) -> bool:
    """Whether the conversion depends on where the part is."""
    if own.family not in MOVED:
        return False
    tool = (own.control == "tool-delta") != (target.control == "tool-delta")
    return (own.motion == "absolute") != (target.motion == "absolute") or tool


def needs_rate(own: Part, target: Part) -> bool:
    """Whether the conversion depends on how long an action lasts."""
    return (own.motion == "velocity") != (target.motion == "velocity")


def convert(
    own: Part,
    target: Part,
    actions: Values,
    *,
    pose: Values | None = None,
    fps: float | None = None,
) -> Values:
    """Convert the columns of a part to those of another.

    Args:
        pose: where the part is at each action, in the columns of `own.still()`, if `needs_pose`.
        fps: actions per second, if `needs_rate`.

    Raises:
        UserError: the part cannot be converted (see `refusal`), or an argument is missing.
    """
    if own.unnamed() == target.unnamed():
        return actions
    why = refusal(own, target)
    if not why and needs_pose(own, target) and pose is None:
        why = "it needs the pose"
    if not why and needs_rate(own, target) and fps is None:
        why = "it needs the rate"
    if why:
        raise UserError(f"{own.control} cannot be converted to {target.control}: {why}.")
    values = actions[:, : own.columns].astype(np.float64)
    here = None if pose is None else pose[:, : own.columns].astype(np.float64)
    if own.family == "end-effector":
        moved = _end_effector(own, target, values, here, fps)
    else:
        moved = _added(own, target, values, here, fps)
    ends = _ends(own, target)
    assert ends is not None
    (begin, end), (low, high) = ends
    grip = actions[:, own.columns :]
    if (begin, end) != (low, high):
        grip = low + (grip - begin) / (end - begin) * (high - low)
    return np.concatenate([moved, grip], axis=1)


def neutral(part: Part, count: int) -> Values:
    """Poses of a part at rest in the origin, for motions that do not depend on the pose."""
    out = np.zeros((count, part.size))
    if part.family == "end-effector" and part.rotation != "xyz":
        out[:, 3 : part.columns] = write_stored(Rotation.identity(count), part.rotation)
    return out


def divided(part: Part, actions: Values, count: int) -> Values:
    """Divide changes into `count` equal ones; grippers are targets and stay."""
    values = actions[:, : part.columns].astype(np.float64)
    out = values / count
    if part.family == "end-effector" and part.rotation != "xyz":
        turn = Rotation.from_rotvec(_turn(part, values).as_rotvec() / count)
        numbers = write_stored(turn, part.rotation)
        if part.rotation in ANGLED:
            numbers = numbers / _radians(part)
        out = np.concatenate([out[:, :3], numbers], axis=1)
    return np.concatenate([out, actions[:, part.columns :]], axis=1)


def _added(
    own: Part, target: Part, values: Values, here: Values | None, fps: float | None
) -> Values:
    """Joints, and positions in a plane: motions add up."""
    if own.motion != target.motion:
        if own.motion == "velocity":
            values = values / _rate(fps)
        if own.motion == "absolute":
            assert here is not None
            values = values - here
            if own.family in PLANE and own.columns == 3:
                whole = 2 * np.pi / SI[own.angle]
                values[:, 2] = (values[:, 2] + whole / 2) % whole - whole / 2
        elif target.motion == "absolute":
            assert here is not None
            values = here + values
        if target.motion == "velocity":
            values = values * _rate(fps)
    length, angle = _scale(own.unit, target.unit), 1.0
    if own.angled:
        angle = _scale(own.angle, target.angle)
    assert length is not None and angle is not None
    factor = np.full(own.columns, length)
    if own.family in PLANE and own.columns == 3:
        factor[2] = angle
    return values * factor


def _end_effector(
    own: Part, target: Part, values: Values, here: Values | None, fps: float | None
) -> Values:
    length = _scale(own.unit, target.unit)
    assert length is not None
    moves = own.control != target.control
    if moves and own.motion == "velocity":
        values = values / _rate(fps)  # before it is read as a turn, which is at most half a turn
    place = values[:, :3]
    if own.rotation == "xyz":
        turn = Rotation.identity(len(values))
    elif own.rotation == target.rotation and not moves:
        angle = _scale(own.angle, target.angle) or 1.0
        return np.concatenate([place * length, values[:, 3:] * angle], axis=1)
    else:
        turn = _turn(own, values)
    if moves:
        if needs_pose(own, target):
            place, turn = _through_pose(own, target, place, turn, here)
        if target.motion == "velocity":
            place = place * _rate(fps)
            turned = turn.as_rotvec() * _rate(fps)
            if target.rotation == "xyz":
                return place * length
            # A turn per second may exceed half a turn, which a rotation cannot.
            return np.concatenate([place * length, turned / _radians(target)], axis=1)
    if target.rotation == "xyz":
        return place * length
    numbers = write_stored(turn, target.rotation)
    if target.rotation in ANGLED:
        numbers = numbers / _radians(target)
    return np.concatenate([place * length, numbers], axis=1)


def _through_pose(
    own: Part, target: Part, place: Values, turn: Rotation, here: Values | None
) -> tuple[Values, Rotation]:
    """Resolve a motion at the current pose, and express the next pose as the target does."""
    assert here is not None
    facing = Rotation.identity(len(place)) if own.rotation == "xyz" else _turn(own.still(), here)
    if own.motion != "absolute":
        if own.control == "tool-delta":
            place, turn = facing.apply(place), facing * turn * facing.inv()
        place, turn = here[:, :3] + place, turn * facing
    if target.motion == "absolute":
        return place, turn
    place, turn = place - here[:, :3], turn * facing.inv()
    if target.control == "tool-delta":
        place, turn = facing.inv().apply(place), facing.inv() * turn * facing
    return place, turn


def _turn(part: Part, values: Values) -> Rotation:
    assert part.rotation != "xyz"
    numbers = values[:, 3 : part.columns]
    if part.rotation in ANGLED:
        numbers = numbers * _radians(part)
    return read_stored(numbers, part.rotation)


def _radians(part: Part) -> float:
    return SI.get(part.angle, 1.0)


def _rate(fps: float | None) -> float:
    assert fps is not None
    return fps


def _scale(own: str, target: str) -> float | None:
    """Units of the target in one of `own`; None if that is not known."""
    if own == target:
        return 1.0
    if any({own, target} <= units for units in ({"m", "cm", "mm"}, {"rad", "deg"})):
        return SI[own] / SI[target]
    return None


def _ends(own: Part, target: Part) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Open and closed on both sides; None if only one is stated, and not as 0 and 1."""
    if (own.ends is None) != (target.ends is None):
        stated = own.ends or target.ends
        return (STATED, STATED) if stated == STATED else None
    return own.ends or STATED, target.ends or STATED


def _units(own: str, target: str) -> str:
    if UNKNOWN in (own, target):
        return (
            "a unit is not stated (?); state it in the map of the data (unit:), or leave the "
            "policy's space out if its numbers are as recorded"
        )
    return f"{own} cannot become {target}"


def _plural(part: Part) -> str:
    return {
        "end-effector": "poses of an end effector",
        "joints": "joints",
        "plane": "positions in a plane",
        "base": "motions of a base",
        "gripper": "grippers",
        "numbers": "numbers of unknown meaning",
    }[part.family]
