# The library's stubs are narrower than what it takes and gives.
# pyright: reportArgumentType=false, reportCallIssue=false
"""Checks of actions and poses that need only their numbers."""

from collections.abc import Iterator, Sequence

import numpy as np

from worldeval.axes import Array, Float, Float32
from worldeval.data.finding import DataFinding
from worldeval.data.frame_times import row_rate, same_rate, wrong_rate
from worldeval.data.source import Head, Rows

JUMP = 1.5 * np.pi  # radians in one frame; no arm turns that far, but a wrapping angle jumps so
CONTINUES = 3.0  # largest step over a jump, as a multiple of the usual step around it
AROUND = 3  # frames before and after a jump that define its usual step
BEYOND = 5.0  # distance of an outlier from the 1%-99% range, as a multiple of it
GAP = 1.5  # frame intervals between two frames above which one is missing


def episode_findings(
    head: Head, rows: Rows, fps: float, names: dict[str, Sequence[str]]
) -> Iterator[DataFinding]:
    """Report wrapping angles, gaps in time and a wrong frame rate within one episode."""
    for field, values in (("action", rows.actions), ("pose", rows.pose)):
        for name, count, frame in _wraps(values, names[field]):
            yield DataFinding(
                code="angle-wraps",
                severity="error",
                episode=head.id,
                field=f"{field}.{name}",
                text=f"jumps by a full turn {count} times, first at frame {frame}. "
                f"{_unwrap(names[field])}",
            )
    if rows.times is not None and len(rows.times) > 1:
        yield from _time_findings(head, rows.times, fps)


def dataset_findings(
    field: str, names: Sequence[str], heads: Sequence[Head], parts: Sequence[Float32[Array, "_ d"]]
) -> Iterator[DataFinding]:
    """Report dimensions that are constant, have outliers, or defeat percentile normalisation."""
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
                text=f"is {column[0]:.6g} in every frame. Exclude it, or find out why it was not "
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
                text=f"has equal 1% and 99% percentiles ({low[i]:.6g}), but values from "
                f"{column.min():.6g} to {column.max():.6g}. Normalise it by minimum and maximum.",
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
                text=f"is {column[row]:.6g} at frame {frame}, but the 1%-99% range is "
                f"[{low[i]:.6g}, {high[i]:.6g}] ({int(out.sum())} such values). Remove these "
                "frames, or normalise by percentiles.",
            )


def _wraps(values: Float32[Array, "t d"], names: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Find wrapping angles: (dimension, number of jumps, first frame after a jump).

    Apart from the full turn, a wrapping angle continues over the jump as it moved before and after.
    A command that toggles between -3 and 3 jumps as far, but does not move otherwise.
    """
    steps = np.diff(values.astype(np.float64), axis=0)
    jumps = np.abs(steps) > JUMP
    angles = np.abs(values).max(axis=0) < np.pi + 0.05
    for i in np.flatnonzero(jumps.any(axis=0) & angles):
        at = np.flatnonzero(jumps[:, i])
        over = np.abs(2 * np.pi - np.abs(steps[at, i]))  # step without the full turn
        usual = np.array([_usual(np.abs(steps[:, i]), jumps[:, i], int(jump)) for jump in at])
        real = at[over <= CONTINUES * usual]
        if len(real) > len(at) / 2:
            yield names[i], len(real), int(real[0]) + 1


def _usual(steps: Float[Array, " t"], jumps: Array, at: int) -> float:
    """Median of the steps around a jump that are not jumps themselves."""
    near = slice(max(at - AROUND, 0), at + AROUND + 1)
    calm = steps[near][~jumps[near]]
    return float(np.median(calm)) if len(calm) else 0.0


def _unwrap(names: Sequence[str]) -> str:
    """Advice for a wrapping angle, as far as these columns allow."""
    if any(name.endswith("roll") for name in names):
        return (
            "Convert it to a 6-D rotation (data convert --rotation 6d), or unwrap it, before "
            "training."
        )
    return (
        "If it is an angle, unwrap it (numpy.unwrap along the episode) when writing the data, or "
        "name the columns roll, pitch, yaw and use data convert --rotation 6d."
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
    steps = np.diff(times) * fps  # in frames; 1 if nothing is missing
    bad = np.flatnonzero((steps > GAP) | (steps <= 0))
    if len(bad):
        yield DataFinding(
            code="timestamp-gap",
            severity="warning",
            episode=head.id,
            field="timestamp",
            text=f"goes from {times[bad[0]]:.4g} to {times[bad[0] + 1]:.4g} s at row {bad[0]}; "
            f"{len(bad)} such steps. Each row has the frame of its time, but a model "
            "sees the gap as one step. Split the episode there, unless nothing moved.",
        )
