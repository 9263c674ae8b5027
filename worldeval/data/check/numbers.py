# The library's stubs are narrower than what it takes and gives.
# pyright: reportArgumentType=false, reportCallIssue=false
"""What can be wrong with actions and poses, seen from their numbers alone."""

from collections.abc import Iterator, Sequence

import numpy as np

from worldeval.axes import Array, Float, Float32
from worldeval.data.finding import DataFinding
from worldeval.data.source import Head, Rows

JUMP = 1.5 * np.pi  # radians in one frame: no arm turns that far, but an angle wraps so
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
                text=f"jumps by a whole turn {count} times, first at frame {frame}. Train it as "
                "a 6-D rotation (data convert --rotation 6d) or unwrapped, never as it is.",
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
    """(dimension, number of jumps, first frame after one) of the angles that wrap."""
    jumps = np.abs(np.diff(values, axis=0)) > JUMP
    angles = np.abs(values).max(axis=0) < np.pi + 0.05
    for i in np.flatnonzero(jumps.any(axis=0) & angles):
        yield names[i], int(jumps[:, i].sum()), int(np.flatnonzero(jumps[:, i])[0]) + 1


def _time_findings(head: Head, times: Float[Array, " t"], fps: float) -> Iterator[DataFinding]:
    steps = np.diff(times) * fps  # in frames: 1 where all is well
    typical = float(np.median(steps))
    if not 0.99 < typical < 1.01:
        yield DataFinding(
            code="rate-differs",
            severity="error",
            episode=head.id,
            field="timestamp",
            text=f"rows are {typical / fps:.4g} s apart, and the dataset says {fps:g} frames a "
            "second. Correct the rate, or resample.",
        )
        return
    bad = np.flatnonzero((steps > GAP) | (steps <= 0))
    if len(bad):
        yield DataFinding(
            code="timestamp-gap",
            severity="error",
            episode=head.id,
            field="timestamp",
            text=f"goes from {times[bad[0]]:.4g} to {times[bad[0] + 1]:.4g} s at frame {bad[0]}; "
            f"{len(bad)} such steps. Cut the episode there.",
        )
