"""Misread numbers: units, degrees, open and closed grippers, normalisation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import pi

import numpy as np

from worldeval.axes import Array, Float, Int
from worldeval.data.columns import ColumnGroup, Groups, columns_of, spans
from worldeval.policy.misread.misreading import Misreading, Moved, Untried, of_pose

Change = Callable[[Float[Array, "*n w"]], Float[Array, "*n w"]]
LENGTH_FACTORS = {"mm": 1000.0, "cm": 100.0}
FLAT = 1e-6  # standard deviation below which a number is constant, and kept as it is


@dataclass(frozen=True, kw_only=True)
class NumberRange:
    """What is known of every number of the recorded actions (per controller step) or poses."""

    mean: Float[Array, " w"]
    std: Float[Array, " w"]
    low: Float[Array, " w"]
    high: Float[Array, " w"]


def number_range(values: Float[Array, "n w"]) -> NumberRange:
    """Measure recorded numbers."""
    values = values.astype(np.float64)
    return NumberRange(
        mean=values.mean(0), std=values.std(0), low=values.min(0), high=values.max(0)
    )


def affine(
    columns: Int[Array, " c"],
    factor: float | Float[Array, " c"],
    offset: float | Float[Array, " c"] = 0.0,
) -> Change:
    """Return the change x -> factor * x + offset of some columns; its inverse is affine too."""

    def change(values: Float[Array, "*n w"]) -> Float[Array, "*n w"]:
        out = np.array(values, np.float64)
        out[..., columns] = out[..., columns] * factor + offset
        return out

    return change


def unaffine(
    columns: Int[Array, " c"], factor: float | Float[Array, " c"],
    offset: float | Float[Array, " c"] = 0.0,
) -> Change:  # fmt: skip
    """Return the inverse of `affine` with the same arguments."""
    return affine(columns, 1 / np.asarray(factor), -np.asarray(offset) / np.asarray(factor))


def number_misreadings(
    side: str, groups: Groups, known: NumberRange
) -> tuple[list[Misreading], list[Untried]]:
    """List the misreadings of the numbers of an action or a pose (`side`)."""
    found, missing = list[Misreading](), list[Untried]()
    for make in (_lengths, _angles, _gripper, _normalised):
        for each in make(side, groups, known):
            if isinstance(each, Misreading):
                found.append(each)
            else:
                missing.append(each)
    return found, missing


def _lengths(side: str, groups: Groups, known: NumberRange) -> Iterator[Misreading | Untried]:
    lengths = [i for i, g in enumerate(groups) if g.means in ("position", "base", "planar")]
    usable = [i for i in lengths if groups[i].unit.removesuffix("/s") in ("m", "cm", "mm")]
    if not usable:
        reason = "no column is a position"
        if lengths:
            names = ", ".join(groups[lengths[0]].names)
            reason = f"the unit of {names} is not known; say it in a map"
        yield Untried(code=f"{side}-units", reason=reason)
        return
    columns = np.concatenate(
        [_columns(groups, i)[: 2 if groups[i].means != "position" else 3] for i in usable]
    )
    for unit, factor in LENGTH_FACTORS.items():
        for times in (factor, 1 / factor):
            text = f"positions are multiplied by {times:g} (m and {unit} are confused)"
            name = f"positions-x{times:g}"
            yield _one(side, name, "units", text, affine(columns, times), usable)


def _angles(side: str, groups: Groups, known: NumberRange) -> Iterator[Misreading | Untried]:
    every = {
        "joints": [i for i, g in enumerate(groups) if g.means == "joint" and _not_a_length(g)],
        "rotations": [i for i, g in enumerate(groups) if g.form in ("euler", "axis-angle")],
    }
    if not any(every.values()):
        yield Untried(code=f"{side}-degrees", reason="no column is an angle")
    for what, chosen in every.items():
        if not chosen:
            continue
        columns = np.concatenate([_columns(groups, i) for i in chosen])
        for unit, factor in (("degrees", 180 / pi), ("radians", pi / 180)):
            text = f"{what} are converted to {unit}"
            yield _one(side, f"{what}-{unit}", what, text, affine(columns, factor), chosen)


def _gripper(side: str, groups: Groups, known: NumberRange) -> Iterator[Misreading | Untried]:
    chosen = [i for i, group in enumerate(groups) if group.means == "gripper"]
    if not chosen:
        yield Untried(code=f"{side}-gripper", reason="no column is said to be a gripper")
        return
    columns = columns_of(groups, "gripper")
    low, high = (np.empty(len(columns)) for _ in range(2))
    place = 0
    for i in chosen:
        own = _columns(groups, i)
        ends = _ends(groups[i], known.low[own], known.high[own])
        low[place : place + len(own)], high[place : place + len(own)] = ends
        place += len(own)
    width = high - low
    if not (width > FLAT).all():
        yield Untried(code=f"{side}-gripper", reason="the recorded gripper never moves")
        return
    text = "open and closed grippers are swapped"
    swap = affine(columns, -1.0, low + high)
    yield _one(side, "gripper-swapped", "gripper", text, swap, chosen)
    for bottom, top in ((0.0, 1.0), (-1.0, 1.0)):
        if np.allclose(low, bottom, atol=0.05) and np.allclose(high, top, atol=0.05):
            continue
        # What is in [bottom, top] becomes what is in [low, high], and for poses the other way.
        factor = width / (top - bottom)
        for swap in (False, True):
            name = f"gripper-{bottom:g}-{top:g}" + ("-swapped" if swap else "")
            own = (-factor, high + factor * bottom) if swap else (factor, low - factor * bottom)
            read = affine(columns, *own) if side == "action" else unaffine(columns, *own)
            text = f"the gripper ranges from {bottom:g} to {top:g}" + (", swapped" if swap else "")
            yield _one(side, name, "gripper", text, read, chosen)


def _normalised(side: str, groups: Groups, known: NumberRange) -> Iterator[Misreading | Untried]:
    columns = np.flatnonzero(known.std > FLAT)
    if not len(columns):
        yield Untried(code=f"{side}-normalised", reason="the recorded numbers are constant")
        return
    chosen = [i for i in range(len(groups)) if np.isin(_columns(groups, i), columns).any()]
    centre = (known.high + known.low) / 2
    for name, what, scale, offset in (
        ("mean-std", "mean and standard deviation", known.std, known.mean),
        ("min-max", "minimum and maximum", (known.high - known.low) / 2, centre),
    ):
        given = (columns, scale[columns], offset[columns])
        # Raw numbers of normalised ones, and the other way.
        raw, normal = affine(*given), unaffine(*given)
        text = f"normalised numbers are scaled back by the data's {what}"
        yield _one(side, f"{name}-raw", "normalised", text, raw, chosen)
        text = f"numbers are normalised by the data's {what}"
        yield _one(side, f"{name}-normalised", "normalised", text, normal, chosen)


def _one(
    side: str, name: str, family: str, text: str, change: Change, groups: list[int]
) -> Misreading:
    whose = "its actions" if side == "action" else "the proprioception that it is given"
    code, text = f"{side}-{name}", f"in {whose}, {text}"
    if side == "pose":
        return Misreading(code=code, family=f"{side}-{family}", text=text, see=of_pose(change))

    def act(actions: Float[Array, "n s w"], moved: Moved) -> Float[Array, "n s w"]:
        return change(actions)

    return Misreading(
        code=code, family=f"{side}-{family}", text=text, act=act, touches=tuple(groups)
    )


def _not_a_length(group: ColumnGroup) -> bool:
    return group.unit.removesuffix("/s") in ("", "rad", "deg")


def _columns(groups: Groups, index: int) -> Int[Array, " c"]:
    span = [each for _, each in spans(groups)][index]
    return np.arange(span.start, span.stop)


def _ends(
    group: ColumnGroup, low: Float[Array, " c"], high: Float[Array, " c"]
) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """The range of a gripper: as declared, or as recorded and rounded to the usual ones."""
    if group.open is not None and group.closed is not None:
        ends = sorted((group.open, group.closed))
        return np.full(len(low), ends[0]), np.full(len(low), ends[1])
    for bottom, top in ((0.0, 1.0), (-1.0, 1.0)):
        near = 0.15 * (top - bottom)
        if (np.abs(low - bottom) < near).all() and (np.abs(high - top) < near).all():
            return np.full(len(low), bottom), np.full(len(low), top)
    return low, high
