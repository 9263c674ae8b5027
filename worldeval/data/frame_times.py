"""Mapping of rows to video frames, by time and never by counting alone.

Where rows bring times, a row's frame is the one shown at that time, to LeRobot's tolerance
(`lerobot/datasets/video_utils.py`, tolerance_s = 1e-4). Where they bring none, they are taken
evenly from the first frame on, and a video that runs unevenly or at another rate must still have a
frame for each of them.
"""

from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float, Int
from worldeval.data.finding import DataError
from worldeval.data.video import frame_times

TOLERANCE = 1e-4  # seconds between a row and its frame, LeRobot's
RATES_APART = 0.01  # share by which two rates may differ and be called the same
JITTER = 0.25  # frames by which a camera's clock may be off where frames are still evenly taken
NEAREST = 0.45  # frames by which an unevenly taken frame may be off its row


def frames_at(file: Path, wanted: Float[Array, " n"], *, episode: str) -> Int[Array, " n"]:
    """Find the frame shown at each of the `wanted` times (seconds of the file's clock).


    Raises:
        DataError: a row has no frame within the tolerance.
    """
    times = frame_times(file)
    frames = _nearest(times, wanted)
    off = np.abs(times[frames] - wanted)
    # Times are stored as float32, which far into a file is coarser than the tolerance.
    stored = np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64)
    bad = np.flatnonzero(~(off <= TOLERANCE + stored))
    if len(bad):
        row = int(bad[0])
        raise DataError(
            file,
            "timestamp",
            f"row {row} of episode {episode} is at {wanted[row]:.4f} s, but the nearest frame is "
            f"at {times[frames[row]]:.4f} s ({len(bad)} of {len(wanted)} rows have no "
            f"frame within {TOLERANCE:g} s; the video's frames range from {times[0]:.4f} to "
            f"{times[-1]:.4f} s).",
            "Correct the timestamps or the start of the episode in the video; otherwise, rows "
            "would get the wrong frames.",
        )
    return frames


def row_rate(times: Float[Array, " t"]) -> float | None:
    """Estimate the rows per second from the median step; None if there is no positive step."""
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return 1 / step if step > 0 else None


def same_rate(one: float, other: float) -> bool:
    """Return whether two rates are equal up to rounding."""
    return bool(abs(one - other) <= RATES_APART * other)


def wrong_rate(rate: float, fps: float) -> str:
    """Describe the problem of rows that are not `1 / fps` seconds apart."""
    return (
        f"rows are {1 / rate:.4g} s apart, but the dataset states {fps:g} frames per second. "
        "Give the true rate in a map (--map, key fps)."
    )


def frames_in_turn(file: Path, rows: int, fps: float, *, episode: str) -> Int[Array, " n"]:
    """Find the frame of each of `rows` rows, which begin at the first frame, `fps` per second.

    One row more than frames is accepted, because recorders may stop between the two. A video with
    as many frames as rows (or one more or less) matches them even if its tagged rate differs.

    Raises:
        DataError: the video has no frame for some row.
    """
    times = frame_times(file)
    times = times - times[0]
    even = len(times) < 3 or _evenly(times)
    rate = (len(times) - 1) / times[-1] if len(times) > 1 and times[-1] > 0 else fps
    same = same_rate(rate, fps) or abs(len(times) - rows) <= 1
    if even and same:
        if rows > len(times) + 1:
            raise _missing(file, episode, len(times), rows, fps, times, len(times) - 1)
        return np.arange(min(rows, len(times)))
    wanted = np.arange(rows) / fps
    if wanted[-1] > times[-1] + NEAREST / fps and rows > 1:
        wanted = wanted[:-1]  # the one row that may be left without a frame
    frames = _nearest(times, wanted)
    bad = np.abs(times[frames] - wanted) > NEAREST / fps
    bad[1:] |= np.diff(frames) <= 0
    if bad.any():
        row = int(np.argmax(bad))
        raise _missing(file, episode, row, rows, fps, times, int(frames[row]))
    return frames


def _missing(
    file: Path,
    episode: str,
    row: int,
    rows: int,
    fps: float,
    times: Float[Array, " n"],
    nearest: int,
) -> DataError:
    return DataError(
        file,
        "video",
        f"row {row} of episode {episode} is at {row / fps:.4f} s, but the nearest frame is "
        f"{times[nearest]:.4f} s after the first ({rows} rows at {fps:g} per second, "
        f"{len(times)} frames in {times[-1]:.4f} s).",
        "Record the episode again, or remove the rows without a frame.",
    )


def _evenly(times: Float[Array, " n"]) -> bool:
    step = times[-1] / (len(times) - 1)
    return bool(np.abs(times - step * np.arange(len(times))).max() <= JITTER * step)


def _nearest(times: Float[Array, " n"], wanted: Float[Array, " m"]) -> Int[Array, " m"]:
    right = np.searchsorted(times, wanted).clip(0, len(times) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(wanted - times[left] <= np.abs(times[right] - wanted), left, right)
