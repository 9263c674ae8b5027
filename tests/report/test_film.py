"""Moving pictures of a film strip."""

from pathlib import Path

import numpy as np
import pytest

from worldeval.data.video import probe, read_frames
from worldeval.report.film import GAP, mosaic, video
from worldeval.report.strip import Shown
from worldeval.runs.films import Filmstrip

ENTRY = Filmstrip(policy="a", task="open", start="1", seed=1, probability=0.8, success=False)


def grey(*levels: int, size: tuple[int, int] = (16, 16)) -> np.ndarray:
    return np.stack([np.full((*size, 3), level, np.uint8) for level in levels])


def shown() -> Shown:
    return Shown(
        entry=ENTRY,
        imagined={"side": grey(10, 20, 30), "top": grey(60, 70, 80)},
        truth={"side": grey(110, 120), "top": grey(160, 170)},
    )


def test_views_stand_side_by_side_and_imagined_above_real() -> None:
    frames = mosaic(shown())
    assert frames.shape == (3, 2 * 16 + GAP, 2 * 16 + GAP, 3)
    corners = frames[:, 8 :: 16 + GAP, 8 :: 16 + GAP, 0]
    assert corners[0].tolist() == [[10, 60], [110, 160]]
    assert corners[2].tolist() == [[30, 80], [120, 170]]  # the shorter side stands still


def test_a_view_that_one_side_lacks_is_grey() -> None:
    frames = mosaic(
        Shown(entry=ENTRY, imagined={"side": grey(10)}, truth={"side": grey(20), "top": grey(30)})
    )
    assert frames[0, 8, 8 :: 16 + GAP, 0].tolist() == [10, 128]


@pytest.mark.parametrize("size", [(16, 16), (15, 17)])
def test_the_video_plays_in_a_browser(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "film.mp4"
    strip = Shown(entry=ENTRY, imagined={"side": grey(10, 120, 230, size=size)})
    path.write_bytes(video(strip, height=45))
    facts = probe(path)
    assert (facts.codec, facts.pix_fmt, facts.frames) == ("h264", "yuv420p", 3)
    assert facts.height % 2 == facts.width % 2 == 0
    middle = read_frames(path)[:, 20, 20].mean(axis=-1)
    np.testing.assert_allclose(middle, [10, 120, 230], atol=6)
