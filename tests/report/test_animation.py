"""The looping picture: which two episodes it shows, what each frame holds, and its file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from worldeval.errors import UserError
from worldeval.report.animation import FRAME, HOLD, drawn, telling_pair, write_animation
from worldeval.report.contents import read_contents
from worldeval.report.strip import Shown
from worldeval.runs.films import Filmstrip, read_filmstrips, write_filmstrip


def strip(policy: str, probability: float, *, success: bool, start: str = "s") -> Filmstrip:
    return Filmstrip(
        policy=policy, task="t", start=start, probability=probability, success=success,
        evidence=(0.0, probability), imagined="i.npz", truth="t.npz",
    )  # fmt: skip


def grey(level: int, frames: int = 2) -> np.ndarray:
    return np.full((frames, 8, 8, 3), level, np.uint8)


def test_two_policies_of_one_start_whose_verdicts_are_right_and_differ() -> None:
    good, bad = strip("a/2", 0.9, success=True), strip("a/1", 0.1, success=False)
    other, wrong = strip("b/1", 0.01, success=False), strip("c/1", 0.99, success=False)
    elsewhere = strip("a/1", 0.0, success=False, start="other")
    assert telling_pair([elsewhere, other, wrong, good, bad]) == (bad, good)
    assert telling_pair([other, wrong, good]) == (other, good)
    assert telling_pair([good, wrong]) == (good, wrong)
    assert telling_pair([good, elsewhere]) is None
    assert telling_pair([good, replace(good)]) is None  # the same policy


def test_every_frame_shows_both_sides_and_the_probability_so_far() -> None:
    sides = [
        Shown(
            entry=strip(policy, 0.9, success=True),
            imagined={"v": np.concatenate([grey(level), grey(level + 5)])},
            truth={"v": grey(level + 10)},
        )
        for policy, level in (("a", 50), ("b", 150))
    ]
    frames = [np.asarray(frame) for frame in drawn(sides)]
    assert len(frames) == 4 and len({frame.shape for frame in frames}) == 1

    def greys(frame: np.ndarray) -> set[int]:
        flat = frame.reshape(-1, 3)
        same = flat[(flat == flat[:, :1]).all(axis=1)][:, 0]
        levels, counts = np.unique(same, return_counts=True)
        return {int(level) for level in levels[counts > 5000]} - {255}

    assert greys(frames[0]) == {50, 60, 150, 160}
    assert greys(frames[3]) == {55, 60, 155, 160}  # the simulator's side ended earlier
    assert (frames[0] != frames[1]).any()


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_the_file_loops_and_rests_on_its_last_frame(run: Path, tmp_path: Path, suffix: str) -> None:
    folder = run / "filmstrips"
    first = read_filmstrips(folder)[0]
    twin = replace(first, policy="another", probability=0.123, success=None)
    write_filmstrip(folder, twin, {"v": grey(9)}, {"v": grey(99)})
    contents = read_contents(run, rng=np.random.default_rng(0))
    pair = write_animation(contents, tmp_path / f"demo{suffix}")
    assert "another" in {each.policy for each in pair}
    with Image.open(tmp_path / f"demo{suffix}") as picture:
        assert picture.info["loop"] == 0 and picture.n_frames > 1  # type: ignore[attr-defined]
        picture.seek(1)
        picture.load()
        assert picture.info["duration"] in (FRAME, HOLD)
        if suffix == ".webp":
            said = json.loads(picture.getexif()[ExifTags.Base.ImageDescription])
            assert {each["probability"] for each in said} == {0.123, first.probability}


def test_another_suffix_or_no_pair_is_refused(run: Path, tmp_path: Path) -> None:
    contents = read_contents(run, rng=np.random.default_rng(0))
    with pytest.raises(UserError, match=r"\.webp or \.gif"):
        write_animation(contents, tmp_path / "demo.mp4")
    with pytest.raises(UserError, match="worldeval film RUN POLICY/START/SEED"):
        write_animation(replace(contents, strips=contents.strips[:1]), tmp_path / "demo.webp")
