"""The marked pictures of the tests: a shift, a swap or a rotation can be read off them."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.marked_frames import Mark, clip, marked, read_mark, read_marks, shown, swapped
from worldeval.data.video import VideoWriter, read_frames


@pytest.mark.parametrize("size", [(16, 32), (32, 64), (192, 320), (250, 334)])
def test_marks_survive_a_video(tmp_path: Path, size: tuple[int, int]) -> None:
    pictures = clip(7, [0, 1, 4095, 300], 2, size=size)
    with VideoWriter(tmp_path / "marked.mp4", fps=10, size=size) as writer:
        writer.append(pictures)
    marks = read_marks(read_frames(tmp_path / "marked.mp4"))
    assert marks == [Mark(7, 0, 2), Mark(7, 1, 2), Mark(7, 4095, 2), Mark(7, 300, 2)]


def test_a_shift_can_be_read_off() -> None:
    assert shown(clip(3, 5)[1:]) == [1, 2, 3, 4]


@pytest.mark.parametrize("spoil", [np.flipud, np.fliplr, lambda p: np.rot90(p, 2), np.zeros_like])
def test_a_picture_turned_or_lost_is_refused(spoil) -> None:
    for frame in range(20):
        with pytest.raises(ValueError, match="bears no mark"):
            read_mark(spoil(marked(5, frame, 1)))


def test_two_mixed_pictures_are_refused() -> None:
    one, other = clip(1, [10, 21])
    with pytest.raises(ValueError, match="bears no mark"):
        read_mark(np.concatenate([one[:16], other[16:]]))


def test_red_and_blue_swapped_show() -> None:
    picture = marked(1, 2, 3)
    assert not swapped(picture)
    assert swapped(picture[..., ::-1])
    assert read_mark(picture[..., ::-1]) == Mark(1, 2, 3)
