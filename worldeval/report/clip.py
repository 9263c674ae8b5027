"""Short looping clips of film strips: animated WebP, which every browser plays without a player.

A clip shows the views side by side, imagined above measured, at the size of the recording. A bar
below fills as time passes. A side that has ended keeps its last frame, faded.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from worldeval.axes import Array, UInt8
from worldeval.report.strip import Shown
from worldeval.runs.films import Frames

RATE = 8.0  # world frames in a second
PAUSE = 1200  # milliseconds on the last frame, so that a loop has an end
MOST = 48  # frames of a clip; longer episodes skip some
SIDE = 128  # pixels of a view's longer side at most
GAP, BAR = 2, 3  # pixels between views, and of the bar
EMPTY, TRACK, FILL = 128, (200, 204, 210), (110, 118, 128)
QUALITY = 50
FADE = 0.55  # share of the paper in a side that has ended


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip and its last frame, as WebP."""

    moving: bytes
    still: bytes
    width: int  # pixels
    height: int
    sides: tuple[str, ...]  # from above to below: imagined, real
    views: tuple[str, ...]  # from left to right


def make_clip(strip: Shown, *, rate: float = RATE) -> Clip:
    """Make the clip of a film strip."""
    frames = clip_frames(strip)
    step = -(-len(frames) // MOST)
    kept = [Image.fromarray(frame) for frame in (*frames[:-1:step], frames[-1])]
    pause = [round(1000 * step / rate)] * (len(kept) - 1) + [PAUSE]
    moving, still = io.BytesIO(), io.BytesIO()
    kept[0].save(
        moving,
        format="WEBP",
        save_all=True,
        append_images=kept[1:],
        duration=pause,
        loop=0,
        quality=QUALITY,
        method=4,
        minimize_size=True,
    )
    kept[-1].save(still, format="WEBP", quality=QUALITY, method=4)
    return Clip(
        moving=moving.getvalue(),
        still=still.getvalue(),
        width=frames.shape[2],
        height=frames.shape[1],
        sides=("imagined",) if strip.truth is None else ("imagined", "real"),
        views=tuple(_views(strip)),
    )


def clip_frames(strip: Shown) -> UInt8[Array, "t h w 3"]:
    """Draw every frame of a clip."""
    views, length = _views(strip), strip.length
    sides = [strip.imagined] if strip.truth is None else [strip.imagined, strip.truth]
    rows = [_row(side, views, length) for side in sides]
    width = max(row.shape[2] for row in rows)
    parts = []
    for row in rows:
        under = ((0, 0), (0, GAP), (0, width - row.shape[2]), (0, 0))
        parts.append(np.pad(row, under, constant_values=EMPTY))
    return np.concatenate([*parts, _bar(length, width)], axis=1)


def _views(strip: Shown) -> list[str]:
    return list(dict.fromkeys([*strip.imagined, *(strip.truth or {})]))


def _row(frames: Frames, views: list[str], length: int) -> UInt8[Array, "t h w 3"]:
    """Put the views of one side beside each other; a view that it lacks is grey."""
    known = {view: _small(_long(frames[view], length)) for view in views if view in frames}
    tall = max(each.shape[1] for each in known.values())
    parts = []
    for place, view in enumerate(views):
        each = known.get(view)
        if each is None:
            each = np.full((length, tall, tall, 3), EMPTY, np.uint8)
        around = ((0, 0), (0, tall - each.shape[1]), (GAP if place else 0, 0), (0, 0))
        parts.append(np.pad(each, around, constant_values=EMPTY))
    return np.concatenate(parts, axis=2)


def _long(frames: UInt8[Array, "s h w 3"], length: int) -> UInt8[Array, "t h w 3"]:
    """Repeat the last frame up to `length`, faded: the side has ended."""
    last = frames[-1].astype(float)
    faded = (last + FADE * (255 - last)).round().astype(np.uint8)
    return np.concatenate([frames[:length], faded[None].repeat(max(0, length - len(frames)), 0)])


def _small(frames: UInt8[Array, "t h w 3"]) -> UInt8[Array, "t _h _w 3"]:
    scale = SIDE / max(frames.shape[1:3])
    if scale >= 1:
        return frames
    size = (round(scale * frames.shape[2]), round(scale * frames.shape[1]))
    return np.stack(
        [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.LANCZOS)) for f in frames]
    )


def _bar(length: int, width: int) -> UInt8[Array, "t h w 3"]:
    """Draw how much of the episode has passed at every frame."""
    out = np.empty((length, BAR, width, 3), np.uint8)
    out[:] = TRACK
    for moment in range(length):
        out[moment, :, : round(width * (moment + 1) / length)] = FILL
    return out
