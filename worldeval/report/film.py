"""A film strip as video: every view, imagined above measured, in sync, with its rows labelled."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldeval.axes import Array, UInt8
from worldeval.report.strip import Shown, open_strip
from worldeval.report.theme import DARK
from worldeval.runs.films import Filmstrip, Frames
from worldeval.runs.paths import inside

GAP = 4  # pixels between views
EMPTY = 128  # grey of a view that one side lacks
PAPER = 22  # grey around labelled pictures, light enough for a dark page and dark for a light one
RATE = 8.0  # world frames of a film in a second
HEIGHT = 384  # pixels of a film without its labels, about
LABEL = 20  # pixels of the band with the names above a row
FOOT = 56  # pixels below the last row: a player draws its controls over the bottom of a film
SIDES = {"imagined": DARK.imagined, "": DARK.ink}  # all others are measured


@dataclass(frozen=True, kw_only=True)
class Film:
    """A film strip prepared for the viewer."""

    stills: UInt8[Array, "t h w 3"]  # with labels
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
    drawn = labelled(shown)
    return Film(stills=drawn, video=encoded(drawn), views=views, real=shown.truth is not None)


def clip(frames: Mapping[str, UInt8[Array, "_t _h _w 3"]], *, fps: float) -> bytes:
    """Encode views side by side as H.264 mp4, at the frame rate of the recording."""
    entry = Filmstrip(policy="", task="", start="", seed=0, probability=None, success=None)
    return encoded(labelled(Shown(entry=entry, imagined=frames), sides=("",)), fps=fps)


def mosaic(strip: Shown) -> UInt8[Array, "t h w 3"]:
    """Arrange views side by side, the imagined row above the measured one if there is one.

    The shorter side repeats its last frame.
    """
    rows = _rows(strip, paper=255)
    between = np.full((strip.length, GAP, rows[0].shape[2], 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (between, row)][1:], axis=1)


def labelled(
    strip: Shown, *, height: int = HEIGHT, sides: Sequence[str] = ("imagined", "measured")
) -> UInt8[Array, "t h w 3"]:
    """Draw the mosaic about `height` pixels tall, with the side and the views named above each row.

    Both lengths of a frame are even, as video needs.
    """
    rows = _rows(strip, paper=PAPER)
    times = max(1, round(height / sum(row.shape[1] for row in rows)))
    views: list[str] = list(dict.fromkeys([*strip.imagined, *(strip.truth or {})]))
    parts = []
    for side, row in zip(sides, rows, strict=False):
        big = row.repeat(times, axis=1).repeat(times, axis=2)
        places = [times * place for place in _places(strip, views)]
        band = _band(side, views, places, big.shape[2])
        parts += [np.broadcast_to(band, (len(big), *band.shape)), big]
    drawn = np.concatenate(parts, axis=1)
    odd = [(0, length % 2) for length in drawn.shape[1:3]]
    return np.pad(drawn, ((0, 0), *odd, (0, 0)), constant_values=PAPER)


def encoded(
    frames: UInt8[Array, "t h w 3"], *, fps: float = RATE, foot: int = FOOT, small: bool = False
) -> bytes:
    """Encode frames as H.264 mp4 (yuv420p, for browsers).

    Args:
        frames: of even height and width.
        foot: pixels of an empty band below, so that a player's controls cover no picture.
        small: a quarter of the size, for files that are sent: softer, and slower to seek in.
    """
    from worldeval.data.video import (
        SMALL,
        VIEWED,
        VideoWriter,
    )  # imported here because lists of episodes need no video library

    count, high, wide, _ = frames.shape
    whole = np.full((count, high + foot, wide, 3), PAPER, np.uint8)
    whole[:, :high] = frames
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        size = (whole.shape[1], whole.shape[2])
        with VideoWriter(path, fps=fps, size=size, options=SMALL if small else VIEWED) as writer:
            writer.append(whole)
        return path.read_bytes()


def _rows(strip: Shown, *, paper: int) -> list[UInt8[Array, "t h w 3"]]:
    """The imagined row and, if there is one, the measured row, equally wide."""
    views: list[str] = list(dict.fromkeys([*strip.imagined, *(strip.truth or {})]))
    rows = [_row(strip.imagined, views, strip.length, paper)]
    if strip.truth is not None:
        rows.append(_row(strip.truth, views, strip.length, paper))
    width = max(row.shape[2] for row in rows)
    return [_wide(row, width, paper) for row in rows]


def _row(frames: Frames, views: list[str], length: int, paper: int) -> UInt8[Array, "t h w 3"]:
    known = {view: _long(frames[view], length) for view in views if view in frames}
    tall = max(each.shape[1] for each in known.values())
    parts = []
    for view in views:
        part = known.get(view)
        if part is None:
            part = np.full((length, tall, tall, 3), EMPTY, np.uint8)
        under = ((0, 0), (0, tall - part.shape[1]), (0, GAP), (0, 0))
        parts.append(np.pad(part, under, constant_values=paper))
    return np.concatenate(parts, axis=2)[:, :, :-GAP]


def _places(strip: Shown, views: list[str]) -> list[int]:
    """Return where each view begins in the imagined row, in pixels of the recording."""
    tall = max(frames.shape[1] for frames in strip.imagined.values())
    places = [0]
    for view in views[:-1]:
        width = strip.imagined[view].shape[2] if view in strip.imagined else tall
        places.append(places[-1] + width + GAP)
    return places


def _band(side: str, views: list[str], places: list[int], width: int) -> UInt8[Array, "h w 3"]:
    """Draw the names above a row: of the side, and of each view where it begins."""
    sheet = Image.new("RGB", (width, LABEL), (PAPER,) * 3)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    ends = [*places[1:], width]
    for place, end, view in zip(places, ends, views, strict=True):
        text = side if len(views) == 1 and side else view
        if side and len(views) > 1 and place == 0:
            text = f"{side}: {view}"
            if font.getlength(text) > end - place:
                text = side
        text = text[:80]
        while text and font.getlength(text) > end - place - 4:
            text = text[:-1]
        draw.text(
            (place + 3, LABEL / 2), text, font=font, fill=SIDES.get(side, DARK.real), anchor="lm"
        )
    return np.asarray(sheet)


def _long(frames: UInt8[Array, "s h w 3"], length: int) -> UInt8[Array, "t h w 3"]:
    return frames[np.minimum(np.arange(length), len(frames) - 1)]


def _wide(row: UInt8[Array, "t h w 3"], width: int, paper: int) -> UInt8[Array, "t h w 3"]:
    return np.pad(row, ((0, 0), (0, 0), (0, width - row.shape[2]), (0, 0)), constant_values=paper)
