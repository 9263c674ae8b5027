"""Changes of pictures: known answers, and inverses where there are some."""

import numpy as np
import pytest

from worldeval.policy.misread import pictures
from worldeval.record import Observation


@pytest.fixture
def frames(rng: np.random.Generator) -> np.ndarray:
    smooth = rng.uniform(0, 255, (2, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    return smooth.astype(np.uint8)


@pytest.mark.parametrize(
    "change", [pictures.bgr, pictures.rotated, pictures.upside_down, pictures.mirrored]
)
def test_flips_are_their_own_inverse_and_change_something(change, frames: np.ndarray) -> None:
    assert not np.array_equal(change(frames), frames)
    np.testing.assert_array_equal(change(change(frames)), frames)


def test_bgr_moves_red_to_the_end() -> None:
    red = np.full((1, 2, 2, 3), (200, 10, 30), np.uint8)
    assert pictures.bgr(red)[0, 0, 0].tolist() == [30, 10, 200]


@pytest.mark.parametrize(
    ("change", "inverse"),
    [
        (pictures.letterboxed, pictures.unletterboxed),
        (pictures.uncropped, pictures.cropped),
    ],
)
def test_framing_keeps_the_size_and_has_an_inverse(change, inverse, frames: np.ndarray) -> None:
    changed = change(frames)
    assert changed.shape == frames.shape
    error = np.abs(inverse(changed).astype(int) - frames)
    assert np.median(error) <= 2  # but for the blur at edges


def test_a_letterbox_is_black_above_and_below(frames: np.ndarray) -> None:
    made = pictures.letterboxed(frames)
    assert not made[:, :4].any()
    assert not made[:, -4:].any()
    assert made[:, 8:24].any()


def test_squares_are_padded_or_stretched() -> None:
    wide = np.full((1, 4, 8, 3), 100, np.uint8)
    assert pictures.padded(wide).shape == pictures.stretched(wide).shape == (1, 8, 8, 3)
    assert not pictures.padded(wide)[0, 0].any()
    assert (pictures.stretched(wide) == 100).all()


def test_every_range_undoes_another() -> None:
    pixel = np.array([[[[0, 100, 255]]]], np.uint8)
    for one, other in (("divide-255", "times-255"), ("range-1-1", "range-0-1"),
                       ("imagenet", "no-imagenet")):  # fmt: skip
        _, factor, offset = pictures.RANGES[one]
        _, back, again = pictures.RANGES[other]
        np.testing.assert_allclose(
            pictures.scaled(pictures.scaled(pixel, factor, offset), back, again), pixel, atol=1e-3
        )


def test_cameras_are_exchanged_in_the_past_too() -> None:
    one, other = (np.full((1, 2, 2, 3), value, np.uint8) for value in (1, 2))
    pose = np.zeros((1, 2), np.float32)
    before = Observation(frames={"a": one, "b": other}, pose=pose, tasks=("t",))
    seen = Observation(frames={"a": other, "b": one}, pose=pose, tasks=("t",), past=(before,))
    found, _ = pictures.picture_misreadings({"a": (2, 2), "b": (2, 2)})
    swap = next(each for each in found if each.code == "cameras a/b")
    changed = swap.seen(seen)
    assert changed.frames["a"].max() == 1
    assert changed.past[0].frames["a"].max() == 2


def test_what_does_not_apply_is_listed_with_its_reason() -> None:
    found, missing = pictures.picture_misreadings({"a": (8, 8)})
    assert not any(each.code.startswith("cameras") for each in found)
    assert {each.code for each in missing} == {"cameras", "pad, stretch"}
    _, missing = pictures.picture_misreadings({"a": (8, 8), "b": (8, 16)})
    assert [each.reason for each in missing] == ["their pictures have different sizes"]
    assert pictures.picture_misreadings({})[0] == []
