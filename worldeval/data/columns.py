"""Meaning of every number of an action and a pose, for any robot.

A robot is described by groups of related columns: a position, a rotation, joints, a gripper, a
position in the plane, a mobile base, plain numbers without a name, or the state of an object that
the robot does not sense. There may be any number of each, distinguished by `arm`. Numbers stay as
they are stored; `unit` is their unit, and `in_si` converts them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import pi
from typing import Literal, get_args

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float, Int
from worldeval.data.rotation import NAMES, StoredForm, read_stored, stored_size

Means = Literal["position", "rotation", "joint", "gripper", "planar", "base", "other", "object"]
Motion = Literal["absolute", "delta", "velocity"]

LENGTHS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
ANGLES = {"rad": 1.0, "deg": pi / 180}
NO_UNIT = ("", "px", "1")  # pixels and fractions are not lengths, so never converted
LINEAR, ANGULAR = ("position", "planar", "base"), ("rotation", "joint")


@dataclass(frozen=True, kw_only=True)
class ColumnGroup:
    """Adjacent columns that share one meaning.

    `planar` and `base` are x, y and optionally an angle in radians. A `delta` is the change from
    the current pose, in the robot's base frame unless `frame` is the tool.
    """

    names: tuple[str, ...]
    means: Means = "other"
    motion: Motion = "absolute"
    arm: str = ""  # end effector: left or right; "" if there is only one
    unit: str = ""  # m, cm, mm, px, rad, deg; per second for a velocity; "": unknown
    form: StoredForm | None = None  # of a rotation
    frame: Literal["base", "tool"] = "base"
    open: float | None = None  # values of an open and a closed gripper
    closed: float | None = None
    guessed: bool = False  # by the reader, from names or conventions

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("a group of columns needs at least one name")
        what = ", ".join(self.names)
        if self.means == "rotation":
            if self.form is None:
                raise ValueError(
                    f"rotation {what} has no form; give one of {', '.join(get_args(StoredForm))}"
                )
            if len(self.names) != stored_size(self.form):
                raise ValueError(
                    f"rotation {what} has {len(self.names)} columns, but {self.form} has "
                    f"{stored_size(self.form)}"
                )
        elif self.form is not None:
            raise ValueError(f"{what}: only a rotation has a form")
        if self.means == "position" and len(self.names) != 3:
            raise ValueError(f"position {what} has {len(self.names)} columns; expected x, y and z")
        if self.means in ("planar", "base") and len(self.names) not in (2, 3):
            raise ValueError(
                f"{self.means} {what} has {len(self.names)} columns; expected x and y, or x, y "
                "and an angle"
            )
        if self.unit.removesuffix("/s") not in (*LENGTHS, *ANGLES, *NO_UNIT):
            known = ", ".join((*LENGTHS, *ANGLES, "px"))
            raise ValueError(f"{what}: unit '{self.unit}' is not known (known: {known})")
        wrong = ANGLES if self.means in LINEAR else LENGTHS if self.means == "rotation" else {}
        if self.unit.removesuffix("/s") in wrong:
            raise ValueError(f"{self.means} {what} cannot have the unit {self.unit}")
        if (self.open is None) != (self.closed is None) or (
            self.open is not None and self.open == self.closed
        ):
            raise ValueError(f"{what}: the values of open and closed must differ")
        if self.open is not None and self.means != "gripper":
            raise ValueError(f"{what}: only a gripper has values of open and closed")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def factor(self) -> float | None:
        """Factor to metres or radians (per second); None if the unit is unknown."""
        return {**LENGTHS, **ANGLES}.get(self.unit.removesuffix("/s"))

    def rotation(self, values: Float[Array, "n r"]) -> Rotation:
        """Convert the stored numbers of a `rotation` to rotations."""
        assert self.form is not None
        values = values.astype(np.float64)
        if self.form in ("euler", "axis-angle"):
            values = values * (self.factor or 1.0)
        return read_stored(values, self.form)

    def in_si(self, values: Float[Array, "n c"]) -> Float[Array, "n c"]:
        """Convert to metres, radians (per second) and 0 (open) to 1 (closed), if known."""
        if self.means == "gripper" and self.open is not None and self.closed is not None:
            return (values - self.open) / (self.closed - self.open)
        if self.factor is None or self.form not in (None, "euler", "axis-angle"):
            return values
        if self.means in ("planar", "base"):  # the angle is already in radians
            return np.concatenate([values[:, :2] * self.factor, values[:, 2:]], axis=1)
        return values * self.factor

    def si(self) -> "ColumnGroup":
        """Return the group that describes the numbers after `in_si`."""
        out = self
        if self.open is not None:
            out = replace(out, open=0.0, closed=1.0)
        if self.factor is not None:
            unit = "m" if self.unit.removesuffix("/s") in LENGTHS else "rad"
            out = replace(out, unit=unit + ("/s" if self.unit.endswith("/s") else ""))
        return out


Groups = tuple[ColumnGroup, ...]


@dataclass(frozen=True, kw_only=True)
class ColumnMeanings:
    """Meaning of the columns of a dataset, in order. Empty if unknown."""

    action: Groups = ()
    pose: Groups = ()

    @property
    def guessed(self) -> tuple[str, ...]:
        """Return the columns whose meaning is a guess, such as `action.x`."""
        return tuple(
            f"{side}.{name}"
            for side, groups in (("action", self.action), ("pose", self.pose))
            for group in groups
            for name in group.names
            if group.guessed
        )


def names(groups: Sequence[ColumnGroup]) -> tuple[str, ...]:
    """Return the names of all columns."""
    return tuple(name for group in groups for name in group.names)


def spans(groups: Sequence[ColumnGroup]) -> Iterator[tuple[ColumnGroup, slice]]:
    """Iterate over the groups with the columns of each."""
    begin = 0
    for group in groups:
        yield group, slice(begin, begin + len(group))
        begin += len(group)


def columns_of(
    groups: Sequence[ColumnGroup], *means: Means, arm: str | None = None
) -> Int[Array, " n"]:
    """Return the columns with certain meanings, of all arms or of one."""
    found = [
        np.arange(span.start, span.stop)
        for group, span in spans(groups)
        if group.means in means and arm in (None, group.arm)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def arms(groups: Sequence[ColumnGroup]) -> tuple[str, ...]:
    """Return the end effectors of the groups, in order of appearance."""
    return tuple(dict.fromkeys(group.arm for group in groups))


def sensed(groups: Sequence[ColumnGroup]) -> Int[Array, " n"]:
    """Return all columns except the states of objects, which no robot senses."""
    every = [m for m in get_args(Means) if m != "object"]
    return np.sort(columns_of(groups, *every))


SIDE = re.compile(r"(?:^|[_.\-/])(left|right)(?=$|[_.\-/])|^(left|right)[_.]", re.IGNORECASE)
GRIPPER = re.compile(r"gripper|finger", re.IGNORECASE)
JOINT = re.compile(r"joint|waist|shoulder|elbow|forearm|wrist|^q_?\d+$|qpos|motor", re.IGNORECASE)


def guess(found: Sequence[str]) -> Groups:
    """Guess the meaning of columns from their names; unknown names become plain numbers.

    Every group is marked as a guess and has no unit, because names do not state units.
    """
    groups: list[ColumnGroup] = []
    place = 0
    while place < len(found):
        group = _at(found, place)
        last = groups[-1] if groups else None
        alike = last and (last.means, last.arm) == (group.means, group.arm)
        if last and alike and group.means in ("joint", "gripper", "other"):
            groups[-1] = replace(last, names=(*last.names, *group.names))
        else:
            groups.append(group)
        place += len(group)
    return tuple(groups)


def _at(found: Sequence[str], place: int) -> ColumnGroup:
    arm, bare = _arm(found[place])
    shared = {"arm": arm, "guessed": True}
    for form, needed in NAMES.items():
        window = tuple(found[place : place + len(needed)])
        if tuple(_arm(name)[1].lower() for name in window) == needed:
            return ColumnGroup(names=window, means="rotation", form=_stored(form), **shared)
    window = tuple(found[place : place + 3])
    if tuple(_arm(name)[1].lower() for name in window) == ("x", "y", "z"):
        return ColumnGroup(names=window, means="position", **shared)
    means: Means = "other"
    if GRIPPER.search(bare):
        means = "gripper"
    elif JOINT.search(bare):
        means = "joint"
    return ColumnGroup(names=(found[place],), means=means, **shared)


def _arm(name: str) -> tuple[str, str]:
    """Split a name into its side and the rest."""
    side = SIDE.search(name)
    if side is None:
        return "", name
    return (side[1] or side[2]).lower(), SIDE.sub("", name).strip("_.-/")


def _stored(form: str) -> StoredForm:
    return next(known for known in get_args(StoredForm) if known == form)
