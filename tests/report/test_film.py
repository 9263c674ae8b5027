"""Moving pictures of a film strip."""

from pathlib import Path

import numpy as np
import pytest

from worldeval.data.video import probe, read_frames
from worldeval.report.film import FOOT, GAP, LABEL, PAPER, clip, encoded, labelled, mosaic
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


def test_rows_are_labelled_above_and_nothing_is_covered() -> None:
    frames = labelled(shown(), height=4 * (2 * 16))
    assert frames.shape == (3, 2 * (LABEL + 4 * 16), 4 * (2 * 16 + GAP), 3)
    imagined, measured = frames[0, :LABEL], frames[0, LABEL + 64 : 2 * LABEL + 64]
    for band in (imagined, measured):
        assert (band != PAPER).any()  # text
    blue, orange = (band[band.max(-1) > 120].mean(0) for band in (imagined, measured))
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]
    assert (frames[2, LABEL : LABEL + 64, :64] == 30).all()


def test_a_label_longer_than_its_view_is_cut() -> None:
    entry = Shown(entry=ENTRY, imagined={"x" * 500: grey(10)})
    assert labelled(entry, height=16).shape[2] == 16


@pytest.mark.parametrize("size", [(16, 16), (15, 17)])
def test_the_video_plays_in_a_browser(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "film.mp4"
    strip = Shown(entry=ENTRY, imagined={"side": grey(10, 120, 230, size=size)})
    drawn = labelled(strip, height=45)
    path.write_bytes(encoded(drawn))
    facts = probe(path)
    assert (facts.codec, facts.pix_fmt, facts.frames) == ("h264", "yuv420p", 3)
    assert facts.height % 2 == facts.width % 2 == 0
    assert facts.height == drawn.shape[1] + FOOT  # for the controls of a player
    middle = read_frames(path)[:, LABEL + 20, 20].mean(axis=-1)
    np.testing.assert_allclose(middle, [10, 120, 230], atol=6)


def test_a_small_film_is_smaller_and_as_long(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1, 64, 64, 3), np.uint8).repeat(9, 0)
    large, small = (encoded(noise, foot=0, small=small) for small in (False, True))
    assert 2 * len(small) < len(large)
    (tmp_path / "film.mp4").write_bytes(small)
    assert probe(tmp_path / "film.mp4").frames == 9


def test_a_clip_of_a_dataset_names_its_views_only(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip({"side": grey(10, 20)}, fps=4))
    assert probe(tmp_path / "clip.mp4").frames == 2
