"""Pictures of film strips: the right frame in the right place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worldeval.report.strip import (
    GAP,
    Shown,
    caption,
    moments,
    rows_of,
    strip_image,
    write_strip_png,
)
from worldeval.runs.films import Filmstrip

ENTRY = Filmstrip(policy="a", task="open", start="1", seed=1, probability=0.8, success=False)


def grey(*levels: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    return np.stack([np.full((*size, 3), level, np.uint8) for level in levels])


def shown(truth: bool = True) -> Shown:
    return Shown(
        entry=ENTRY,
        imagined={"side": grey(10, 20, 30), "top": grey(11, 21, 31)},
        truth={"side": grey(110, 120), "top": grey(111, 121)} if truth else None,
    )


def test_the_caption_says_how_far_it_came() -> None:
    assert caption(ENTRY, "simulator") == "judged 0.80, simulator: failure"
    almost = replace(ENTRY, probability=0.1, progress=0.85, success=None)
    assert caption(almost) == "judged 0.10 (progress 0.85), not measured"


@pytest.mark.parametrize(
    ("length", "columns", "at"),
    [(31, 4, [0, 10, 20, 30]), (3, 8, [0, 1, 2]), (1, 5, [0]), (10, 1, [0])],
)
def test_moments_run_from_first_to_last(length: int, columns: int, at: list[int]) -> None:
    assert moments(length, columns).tolist() == at


def test_rows_pair_the_sides_of_a_view() -> None:
    assert [(row.view, row.side) for row in rows_of(shown())] == [
        ("side", "imagined"),
        ("side", "real"),
        ("top", "imagined"),
        ("top", "real"),
    ]
    assert [row.view for row in rows_of(shown(), ["top"])] == ["top", "top"]
    assert [row.view for row in rows_of(shown(truth=False), ["gone"])] == ["side"]


def test_each_frame_has_its_place_and_an_ended_row_is_clear() -> None:
    picture = np.asarray(strip_image(rows_of(shown()), np.array([0, 2]), side=8))
    step = 8 + GAP
    assert picture.shape == (4 * step - GAP, 2 * step - GAP, 4)
    middles = picture[4::step, 4::step]
    assert middles[:, :, 0].tolist() == [[10, 30], [110, 0], [11, 31], [111, 0]]
    assert middles[:, :, 3].tolist() == [[255, 255], [255, 0], [255, 255], [255, 0]]


def test_frames_keep_their_shape() -> None:
    wide = Shown(entry=ENTRY, imagined={"side": grey(5, size=(6, 12))})
    assert strip_image(rows_of(wide), np.array([0]), side=24).size == (24, 12)


def test_a_labelled_picture_holds_the_frames_unchanged(tmp_path: Path) -> None:
    path = write_strip_png(tmp_path / "deep/strip.png", [shown(), shown(truth=False)], side=8)
    with Image.open(path) as picture:
        colours = {colour for _, colour in picture.getcolors(1 << 16) or []}
    assert {(level,) * 3 for level in (10, 20, 30, 110, 120, 11, 111)} <= colours


def test_a_picture_beside_it_has_the_same_height(tmp_path: Path) -> None:
    alone = size(write_strip_png(tmp_path / "a.png", [shown()], side=8))
    beside = Image.new("RGB", (50, 50), (255, 0, 0))
    both = size(write_strip_png(tmp_path / "b.png", [shown()], side=8, beside=beside))
    assert both[1] == alone[1]
    assert both[0] > alone[0] + 50


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_no_strip_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no film strip"):
        write_strip_png(tmp_path / "a.png", [])
