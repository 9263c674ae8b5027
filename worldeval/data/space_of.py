"""The action space that follows from what a dataset says its columns mean."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import cast

from worldeval.data.action_space import ActionSpace
from worldeval.data.columns import ColumnGroup
from worldeval.data.part import ANGLED, UNKNOWN, Control, Part
from worldeval.data.space_text import write_space

FORBIDDEN = re.compile(r"[^\w .-]+")
DEFAULT_NAMES = {
    "end-effector": "arm",
    "joints": "arm",
    "plane": "point",
    "base": "base",
    "gripper": "gripper",
    "numbers": "other",
}
CONTROLS_OF = {
    "position": {"absolute": "ee-absolute", "delta": "ee-delta", "velocity": "ee-velocity"},
    "joint": {
        "absolute": "joint-position",
        "delta": "joint-delta",
        "velocity": "joint-velocity",
    },
    "planar": {
        "absolute": "planar-position",
        "delta": "planar-delta",
        "velocity": "planar-velocity",
    },
    "base": {"absolute": "position", "delta": "delta", "velocity": "velocity"},
}


def declared_space(groups: Sequence[ColumnGroup]) -> str:
    """Return the space of an action or a pose in space_text.py's notation.

    Columns whose meaning was only guessed, or that have none, are plain numbers. "" if nothing is
    known of any column but grippers.
    """
    parts = _named(list(_parts(list(groups))))
    if not any(part.family not in ("numbers", "gripper") for part in parts):
        return ""
    return write_space(ActionSpace(parts=tuple(parts)))


def _parts(groups: list[ColumnGroup]) -> Iterator[Part]:
    while groups:
        count, part = _first(groups)
        groups = groups[count:]
        if part.family in ("gripper", "numbers"):
            yield part
            continue
        grips = list(takewhile(lambda group, part=part: _is_grip(group, part), groups))
        grips = [grip for grip in grips if _ends(grip) == _ends(grips[0])]
        groups = groups[len(grips) :]
        yield replace(part, gripper=sum(map(len, grips)), ends=_ends(grips[0]) if grips else None)


def _first(groups: list[ColumnGroup]) -> tuple[int, Part]:
    """The part that the first groups form, without its grippers, and how many groups these are."""
    first = groups[0]
    name, unit = first.arm, first.unit.removesuffix("/s") or UNKNOWN
    if first.means == "gripper" and not first.guessed:
        return 1, Part(control="gripper", name=name, gripper=len(first), ends=_ends(first))
    if first.guessed or first.means not in CONTROLS_OF:
        return _numbers(groups)
    control = cast(Control, CONTROLS_OF[first.means][first.motion])
    if first.means == "joint":
        own = list(takewhile(lambda group: group == replace(first, names=group.names), groups))
        width = sum(map(len, own))
        return len(own), Part(control=control, name=name, columns=width, unit=unit)
    if first.means != "position":
        return 1, Part(control=control, name=name, columns=len(first), unit=unit)
    turn = groups[1] if len(groups) > 1 else None
    joined = (
        turn is not None
        and turn.means == "rotation"
        and not turn.guessed
        and (turn.arm, turn.motion, turn.frame) == (first.arm, first.motion, first.frame)
        and (turn.motion != "velocity" or turn.form == "axis-angle")
    )
    tool = first.frame == "tool" and first.motion != "absolute"
    if tool and first.motion == "velocity":
        return _numbers(groups)
    if tool:
        control = "tool-delta"
    if turn is None or not joined:
        return 1, Part(control=control, name=name, rotation="xyz", unit=unit)
    assert turn.form is not None
    angle = turn.unit.removesuffix("/s") or UNKNOWN
    return 2, Part(
        control=control,
        name=name,
        rotation=turn.form,
        unit=unit,
        angle=angle if turn.form in ANGLED else "rad",
    )


def _numbers(groups: list[ColumnGroup]) -> tuple[int, Part]:
    """All columns up to the next whose meaning is known, or of another arm."""
    arm = groups[0].arm
    more = takewhile(lambda group: group.arm == arm and _unknown(group), groups[1:])
    own = [groups[0], *more]
    return len(own), Part(control="numbers", name=arm, columns=sum(map(len, own)))


def _unknown(group: ColumnGroup) -> bool:
    return group.guessed or group.means in ("other", "object", "rotation")


def _is_grip(group: ColumnGroup, part: Part) -> bool:
    return group.means == "gripper" and not group.guessed and group.arm == part.name


def _ends(group: ColumnGroup) -> tuple[float, float] | None:
    if group.open is None or group.closed is None:
        return None
    return (group.open, group.closed)


def _named(parts: list[Part]) -> list[Part]:
    """Give each of several parts a name of its own: that of its arm, and of its kind if needed."""
    out: dict[str, Part] = {}
    # A robot's arm keeps its plain name, even if other columns of it come first.
    order = sorted(range(len(parts)), key=lambda i: parts[i].family in ("gripper", "numbers"))
    names = {}
    for index in order:
        part = parts[index]
        plain = " ".join(FORBIDDEN.sub(" ", part.name).split())
        kind = f"{plain} {DEFAULT_NAMES[part.family]}".strip()
        choices = (plain, kind, *(f"{kind} {count}" for count in range(2, len(parts) + 2)))
        names[index] = next(
            name for name in choices if name not in out and (name or len(parts) == 1)
        )
        out[names[index]] = part
    return [replace(part, name=names[index]) for index, part in enumerate(parts)]
