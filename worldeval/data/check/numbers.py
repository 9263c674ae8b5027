# The library's stubs are narrower than what it takes and gives.
# pyright: reportArgumentType=false, reportCallIssue=false
"""What can be wrong with actions and poses, seen from their numbers alone."""

from collections.abc import Iterator, Sequence

import numpy as np

from worldeval.axes import Array, Float, Float32
from worldeval.data.finding import DataFinding
from worldeval.data.frame_times import row_rate, same_rate, wrong_rate
from worldeval.data.source import Head, Rows

JUMP = 1.5 * np.pi  # radians in one frame: no arm turns that far, but an angle wraps so
CONTINUES = 3.0  # times its usual step around a jump: as far as an angle goes over the jump
AROUND = 3  # frames before and after a jump that tell its usual step
BEYOND = 5.0  # times the 1%-99% range outside it: an outlier
GAP = 1.5  # frame times between two frames: one is missing


def episode_findings(
    head: Head, rows: Rows, fps: float, names: dict[str, Sequence[str]]
) -> Iterator[DataFinding]:
    """Wrapping angles, gaps in time and a wrong rate, within one episode."""
    for field, values in (("action", rows.actions), ("pose", rows.pose)):
        for name, count, frame in _wraps(values, names[field]):
            yield DataFinding(
                code="angle-wraps",
                severity="error",
                episode=head.id,
                field=f"{field}.{name}",
                text=f"jumps by a whole turn {count} times, first at frame {frame}. "
                f"{_unwrap(names[field])}",
            )
    if rows.times is not None and len(rows.times) > 1:
        yield from _time_findings(head, rows.times, fps)


def dataset_findings(
    field: str, names: Sequence[str], heads: Sequence[Head], parts: Sequence[Float32[Array, "_ d"]]
) -> Iterator[DataFinding]:
    """Dimensions that never change, that percentiles cannot normalise, or that hold outliers."""
    values = np.concatenate(parts).astype(np.float64)
    ends = np.cumsum([len(part) for part in parts])
    low, high = np.percentile(values, [1, 99], axis=0)
    for i, name in enumerate(names):
        column = values[:, i]
        where = f"{field}.{name}"
        if np.ptp(column) == 0:
            yield DataFinding(
                code="constant",
                severity="warning",
                episode=None,
                field=where,
                text=f"is {column[0]:.6g} in every frame. Leave it out, or see why it was not "
                "recorded.",
            )
            continue
        reach = high[i] - low[i]
        if reach <= 1e-9 * max(1.0, abs(high[i])):
            yield DataFinding(
                code="normalisation-inert",
                severity="warning",
                episode=None,
                field=where,
                text=f"its 1% and 99% percentiles are both {low[i]:.6g}, though it changes "
                f"({column.min():.6g} to {column.max():.6g}). Normalise it by minimum and maximum.",
            )
            continue
        out = (column < low[i] - BEYOND * reach) | (column > high[i] + BEYOND * reach)
        if out.any():
            row = int(np.flatnonzero(out)[0])
            place = int(np.searchsorted(ends, row, side="right"))
            frame = row - (int(ends[place - 1]) if place else 0)
            yield DataFinding(
                code="outlier",
                severity="error",
                episode=heads[place].id,
                field=where,
                text=f"is {column[row]:.6g} at frame {frame}, where 1% to 99% lie in "
                f"[{low[i]:.6g}, {high[i]:.6g}]; {int(out.sum())} such values. Cut them out or "
                "normalise by percentiles.",
            )


def _wraps(values: Float32[Array, "t d"], names: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """(dimension, number of jumps, first frame after one) of the angles that wrap.

    An angle goes on over the jump as it moved before and after it, but for the whole turn. A
    command that toggles between -3 and 3 jumps as far, and moves otherwise not at all.
    """
    steps = np.diff(values.astype(np.float64), axis=0)
    jumps = np.abs(steps) > JUMP
    angles = np.abs(values).max(axis=0) < np.pi + 0.05
    for i in np.flatnonzero(jumps.any(axis=0) & angles):
        at = np.flatnonzero(jumps[:, i])
        over = np.abs(2 * np.pi - np.abs(steps[at, i]))  # how far it went, but for the turn
        usual = np.array([_usual(np.abs(steps[:, i]), jumps[:, i], int(jump)) for jump in at])
        real = at[over <= CONTINUES * usual]
        if len(real) > len(at) / 2:
            yield names[i], len(real), int(real[0]) + 1


def _usual(steps: Float[Array, " t"], jumps: Array, at: int) -> float:
    """The middle one of the steps around a jump that are none."""
    near = slice(max(at - AROUND, 0), at + AROUND + 1)
    calm = steps[near][~jumps[near]]
    return float(np.median(calm)) if len(calm) else 0.0


def _unwrap(names: Sequence[str]) -> str:
    """What to do about an angle that wraps, as far as it can be done with these columns."""
    if any(name.endswith("roll") for name in names):
        return (
            "Train it as a 6-D rotation (data convert --rotation 6d) or unwrapped, never as it is."
        )
    return (
        "If it is an angle, unwrap it (numpy.unwrap along the episode) where the data are written, "
        "or name the columns roll, pitch, yaw and use data convert --rotation 6d."
    )


def _time_findings(head: Head, times: Float[Array, " t"], fps: float) -> Iterator[DataFinding]:
    rate = row_rate(times)
    if rate is not None and not same_rate(rate, fps):
        yield DataFinding(
            code="rate-differs",
            severity="error",
            episode=head.id,
            field="timestamp",
            text=wrong_rate(rate, fps),
        )
        return
    steps = np.diff(times) * fps  # in frames: 1 where all is well
    bad = np.flatnonzero((steps > GAP) | (steps <= 0))
    if len(bad):
        yield DataFinding(
            code="timestamp-gap",
            severity="warning",
            episode=head.id,
            field="timestamp",
            text=f"goes from {times[bad[0]]:.4g} to {times[bad[0] + 1]:.4g} s at row {bad[0]}; "
            f"{len(bad)} such steps. Each row has the frame of its time, but a model "
            "sees the jump as one step: cut the episode there unless nothing moved.",
        )
