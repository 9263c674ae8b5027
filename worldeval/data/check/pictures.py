"""Checks of camera frames: unreadable, black, or frozen while the robot moves."""

from collections.abc import Iterator, Mapping, MutableMapping
from itertools import pairwise

import numpy as np

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.check.stale_starts import StaleStarts
from worldeval.data.finding import DataError, DataFinding
from worldeval.data.source import Source

BLACK = 6.0  # mean brightness (of 255) below which a frame counts as black
CELLS = 12  # frames are compared on a grid of cells, so that small moving parts are noticed
STILL = 1.0  # largest change of any cell of a frozen camera; noise and codecs stay below
SHARE, SECONDS = 0.25, 2.0  # minimum share of the episode and duration of a frozen camera


def picture_findings(
    source: Source,
    index: int,
    pose: Float32[Array, "t p"],
    motions: MutableMapping[str, Float[Array, " _"]],
    starts: StaleStarts,
) -> Iterator[DataFinding]:
    """Check every frame of every view of one episode.

    `motions` receives the change from frame to frame of every valid view, `starts` its frames.
    """
    head = source.heads[index]
    for view in source.spec.views:
        try:
            cells = np.concatenate([brightness(block) for block in source.blocks(index, view)])
        except DataError as error:
            yield DataFinding(
                code="rate-differs" if error.field == "fps" else "frames-unreadable",
                severity="error",
                episode=head.id,
                field=view,
                text=f"{error} Exclude the episode (--skip-damaged), or record it again.",
            )
            continue
        dark = cells.mean(axis=1) < BLACK
        if dark.any():
            yield DataFinding(
                code="black-camera",
                severity="error",
                episode=head.id,
                field=view,
                text=f"{int(dark.sum())} of {len(dark)} frames are black, starting at frame "
                f"{int(np.argmax(dark))}. Exclude the view or the episode.",
            )
            continue
        starts.add(head.id, head.task, view, cells)
        motions[view] = np.abs(np.diff(cells, axis=0)).mean(axis=1)
        yield from _frozen(head.id, view, cells, pose, source.spec.fps)


def _frozen(
    episode: str, view: str, cells: Float[Array, "t c"], pose: Float32[Array, "t p"], fps: float
) -> Iterator[DataFinding]:
    same = np.abs(np.diff(cells, axis=0)).max(axis=1) < STILL
    begin, length = _longest(same)
    if length < max(SHARE * len(cells), SECONDS * fps):
        return
    # A camera may be still while nothing happens.
    if not pose.shape[1]:
        return
    moved = np.ptp(pose[begin : begin + length + 1], axis=0)
    if (moved > 0.05 * np.maximum(np.ptp(pose, axis=0), 1e-6)).any() and np.ptp(pose) > 1e-6:
        yield DataFinding(
            code="frozen-camera",
            severity="error",
            episode=episode,
            field=view,
            text=f"shows the same image from frame {begin} to {begin + length} while the pose "
            "changes. Exclude the view or the episode.",
        )


def joint_motion(motions: Mapping[str, Float[Array, " _"]]) -> Float[Array, " _"]:
    """Combine the motion of all views, each in its own standard deviations; empty if none."""
    found = [(one - one.mean()) / one.std() for one in motions.values() if len(one) and one.std()]
    return np.mean(found, axis=0) if found else np.zeros(0)


def brightness(frames: UInt8[Array, "n h w 3"]) -> Float[Array, "n c"]:
    """Compute the mean brightness of a grid of cells."""
    count, height, width, channels = frames.shape
    rows, columns = _edges(height), _edges(width)
    # Sum integers over the rows first, because a mean per cell would take longer than decoding.
    kind = np.uint16 if height < CELLS * 256 else np.uint32  # holds the sum of a cell's rows
    sums = [frames[:, top:bottom].sum(axis=1, dtype=kind) for top, bottom in pairwise(rows)]
    lines = np.stack(sums, axis=1).reshape(count, len(rows) - 1, -1).astype(np.float32)
    members = np.searchsorted(columns, np.arange(width), side="right") - 1
    across = (members.repeat(channels)[:, None] == np.arange(len(columns) - 1)).astype(np.float32)
    pixels = np.diff(rows)[:, None] * np.diff(columns) * channels
    return (lines @ across / pixels).reshape(count, -1).astype(np.float64)


def _edges(pixels: int) -> Int[Array, " e"]:
    """Boundaries of the cells along one side."""
    return np.unique(np.linspace(0, pixels, CELLS + 1).astype(int))


def _longest(flags: Array) -> tuple[int, int]:
    """Start and length of the longest run of true values."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(begins):
        return 0, 0
    best = int(np.argmax(ends - begins))
    return int(begins[best]), int(ends[best] - begins[best])
