"""A film strip as video: every view, imagined above measured, in sync."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from worldeval.axes import Array, UInt8
from worldeval.report.strip import Shown, open_strip
from worldeval.runs.films import Filmstrip, Frames
from worldeval.runs.paths import inside

GAP = 4  # pixels between views
EMPTY = 128  # grey of a view that one side lacks
RATE = 8.0  # world frames of a film in a second


@dataclass(frozen=True, kw_only=True)
class Film:
    """A film strip prepared for the viewer."""

    stills: UInt8[Array, "t h w 3"]
    video: bytes  # H.264 mp4
    views: tuple[str, ...]  # from left to right
    real: bool  # whether the lower half shows the measured episode


def open_film(folder: Path, strip: Filmstrip, *, blind: bool = False) -> Film:
    """Make the video of a strip; with `blind`, of the imagined side only.

    The most recent videos are cached in memory until their file changes.

    Raises:
        UserError: a file of the strip is missing, damaged, or outside of the folder.
    """
    names = [name for name in (strip.imagined, None if blind else strip.truth) if name]
    paths = [inside(folder, name) for name in names]
    changed = tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in paths)
    return _film(folder, strip, changed, blind)


@lru_cache(maxsize=4)
def _film(folder: Path, strip: Filmstrip, changed: tuple[int, ...], blind: bool) -> Film:
    shown = open_strip(folder, strip)
    if blind:
        shown = Shown(entry=strip, imagined=shown.imagined)
    names: list[str] = [*shown.imagined, *(shown.truth or {})]
    views = tuple(dict.fromkeys(names))
    return Film(stills=mosaic(shown), video=video(shown), views=views, real=shown.truth is not None)


def clip(frames: Mapping[str, UInt8[Array, "_t _h _w 3"]], *, fps: float) -> bytes:
    """Encode views side by side as H.264 mp4, at the frame rate of the recording."""
    entry = Filmstrip(policy="", task="", start="", seed=0, probability=None, success=None)
    return video(Shown(entry=entry, imagined=frames), fps=fps)


def mosaic(strip: Shown) -> UInt8[Array, "t h w 3"]:
    """Arrange views side by side, the imagined row above the measured one if there is one.

    The shorter side repeats its last frame.
    """
    views: list[str] = list(dict.fromkeys([*strip.imagined, *(strip.truth or {})]))
    rows = [_row(strip.imagined, views, strip.length)]
    if strip.truth is not None:
        rows.append(_row(strip.truth, views, strip.length))
    width = max(row.shape[2] for row in rows)
    rows = [_wide(row, width) for row in rows]
    between = np.full((strip.length, GAP, width, 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (between, row)][1:], axis=1)


def video(strip: Shown, *, fps: float = RATE, height: int = 384) -> bytes:
    """Encode the mosaic as H.264 mp4 (yuv420p, for browsers), about `height` pixels tall."""
    from worldeval.data.video import (
        VideoWriter,
    )  # imported here because lists of episodes need no video library

    frames = mosaic(strip)
    times = max(1, round(height / frames.shape[1]))
    frames = frames.repeat(times, axis=1).repeat(times, axis=2)
    odd = [(0, side % 2) for side in frames.shape[1:3]]
    frames = np.pad(frames, ((0, 0), *odd, (0, 0)), constant_values=255)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with VideoWriter(path, fps=fps, size=(frames.shape[1], frames.shape[2])) as writer:
            writer.append(frames)
        return path.read_bytes()


def _row(frames: Frames, views: list[str], length: int) -> UInt8[Array, "t h w 3"]:
    known = {view: _long(frames[view], length) for view in views if view in frames}
    tall = max(each.shape[1] for each in known.values())
    parts = []
    for view in views:
        part = known.get(view)
        if part is None:
            part = np.full((length, tall, tall, 3), EMPTY, np.uint8)
        under = ((0, 0), (0, tall - part.shape[1]), (0, GAP), (0, 0))
        parts.append(np.pad(part, under, constant_values=255))
    return np.concatenate(parts, axis=2)[:, :, :-GAP]


def _long(frames: UInt8[Array, "s h w 3"], length: int) -> UInt8[Array, "t h w 3"]:
    return frames[np.minimum(np.arange(length), len(frames) - 1)]


def _wide(row: UInt8[Array, "t h w 3"], width: int) -> UInt8[Array, "t h w 3"]:
    return np.pad(row, ((0, 0), (0, 0), (0, width - row.shape[2]), (0, 0)), constant_values=255)
