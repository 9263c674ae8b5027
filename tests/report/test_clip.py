"""Clips: every frame in order, imagined above measured, a side that ended faded, still small."""

import io

import numpy as np
from PIL import Image, ImageSequence

from worldeval.report.clip import BAR, GAP, MOST, PAUSE, SIDE, clip_frames, make_clip
from worldeval.report.strip import Shown
from worldeval.runs.films import Filmstrip, Frames


def strip(length: int, *, ended: int | None = None, side: int = 16) -> Shown:
    """Two views that brighten frame by frame; the measured side ends after `ended` frames."""

    def side_of(count: int) -> Frames:
        bright = np.arange(count, dtype=np.uint8)[:, None, None, None] + 40
        view = np.broadcast_to(bright, (count, side, side, 3))
        return {"side": view, "top": view}

    entry = Filmstrip(policy="p", task="t", start="s")
    truth = None if ended is None else side_of(ended)
    return Shown(entry=entry, imagined=side_of(length), truth=truth)


def frames(picture: Image.Image) -> int:
    return sum(1 for _ in ImageSequence.Iterator(picture))


def test_rows_and_views_stand_where_their_labels_say() -> None:
    drawn = clip_frames(strip(6, ended=3))
    assert drawn.shape == (6, 2 * (16 + GAP) + BAR, 2 * 16 + GAP, 3)
    assert (drawn[:, 4, 4, 0] == np.arange(6) + 40).all()  # imagined
    assert (drawn[:, 4, -4, 0] == np.arange(6) + 40).all()  # its second view
    below = drawn[:, 16 + GAP + 4, 4, 0]
    assert list(below[:3]) == [40, 41, 42]
    assert (below[3:] > 100).all()  # faded after its end


def test_the_bar_fills_as_time_passes() -> None:
    bar = clip_frames(strip(4))[:, -1, :, 0]
    filled = [int((row == row[0]).sum()) for row in bar]
    assert filled == sorted(filled) and filled[-1] == bar.shape[1]
    assert bar[0, -1] != bar[-1, -1]


def test_a_clip_loops_and_pauses_at_its_end() -> None:
    made = make_clip(strip(6, ended=6))
    assert (made.sides, made.views) == (("imagined", "real"), ("side", "top"))
    with Image.open(io.BytesIO(made.moving)) as picture:
        assert (picture.format, frames(picture), picture.info["loop"]) == ("WEBP", 6, 0)
        assert picture.size == (made.width, made.height)
        times = []
        for moment in range(6):
            picture.seek(moment)
            picture.load()
            times.append(picture.info["duration"])
        assert times == [125] * 5 + [PAUSE]
        last = np.asarray(picture.convert("RGB"), int)
    with Image.open(io.BytesIO(made.still)) as picture:
        still = np.asarray(picture.convert("RGB"), int)
        assert frames(picture) == 1 and np.abs(still - last).mean() < 8


def test_long_and_large_episodes_stay_small() -> None:
    made = make_clip(strip(10 * MOST, side=2 * SIDE))
    with Image.open(io.BytesIO(made.moving)) as picture:
        assert frames(picture) <= MOST + 1
    assert made.width == 2 * SIDE + GAP
    assert made.sides == ("imagined",)
