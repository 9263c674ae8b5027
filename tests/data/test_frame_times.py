"""Frames are found by the time of their row, whatever the video holds beside them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support import odd_lerobot
from tests.support.marked_frames import clip, read_marks, shown
from tests.support.odd_videos import REORDERED, film, trimmed
from worldeval.data.check.check import check, harmful
from worldeval.data.convert import convert
from worldeval.data.finding import DataError
from worldeval.data.frame_times import frames_at, frames_in_turn
from worldeval.data.source import Source, open_source
from worldeval.data.video import frame_times, read_frames

# --- LeRobot: from_timestamp + timestamp ----------------------------------------------------------


def seen(source: Source) -> odd_lerobot.Seen:
    view = next(iter(source.spec.views))
    every = [read_marks(source.frames(index, view)) for index in range(len(source))]
    return [[(mark.episode, mark.frame) for mark in marks] for marks in every]


@pytest.mark.parametrize("case", odd_lerobot.CASES)
def test_every_row_shows_its_frame(case: str, tmp_path: Path) -> None:
    expected = odd_lerobot.CASES[case](tmp_path / "set")
    source = open_source(tmp_path / "set")
    assert seen(source) == expected
    # A cut in the middle is that of the whole, through another path of the decoder.
    row = len(expected[-1]) // 2
    cut = read_marks(source.frames(len(source) - 1, "top", np.array([row + 1, row])))
    assert [(m.episode, m.frame) for m in cut] == [expected[-1][row + 1], expected[-1][row]]


@pytest.mark.parametrize("case", odd_lerobot.CASES)
def test_what_is_sound_passes_the_check_and_is_converted(case: str, tmp_path: Path) -> None:
    expected = odd_lerobot.CASES[case](tmp_path / "set")
    source = open_source(tmp_path / "set")
    about = [f for f in check(source) if "frame" in f.code or "rate" in f.code]
    assert about == []
    for to in ("lerobot", "shards"):
        convert(source, tmp_path / to, to=to)
        assert seen(open_source(tmp_path / to)) == expected


def retimed(root: Path, change) -> None:
    """Other times in every table of rows."""
    for file in root.glob("data/*/*.parquet"):
        table = pd.read_parquet(file)
        table["timestamp"] = change(table["timestamp"]).astype(np.float32)
        table.to_parquet(file)


def begun(root: Path, change) -> None:
    """Other begins in the index of episodes."""
    file = root / "meta/episodes/chunk-000/file-000.parquet"
    table, key = pd.read_parquet(file), f"videos/{odd_lerobot.VIEW}/from_timestamp"
    table[key] = change(table[key])
    table.to_parquet(file)


@pytest.mark.parametrize(
    ("case", "spoil", "row", "wanted", "nearest"),
    [
        # Every row half a frame late: nearest would be a guess.
        ("first_rows_cut", lambda r: retimed(r, lambda t: t + 0.05), 0, "1.5500", "1.5000"),
        # Rows that go on after the video.
        ("first_rows_cut", lambda r: retimed(r, lambda t: t + 2), 5, "4.0000", "3.9000"),
        # A clock that runs 0.01% slow leaves LeRobot's tolerance after a second.
        ("idle_rows_cut", lambda r: retimed(r, lambda t: t * 1.0001), 10, "2.0002", "2.0000"),
        # An index whose begins are off by a third of a frame.
        ("spare_frames_between", lambda r: begun(r, lambda b: b + 0.03), 0, "0.0300", "0.0000"),
    ],
)
def test_rows_that_have_no_frame_are_refused_everywhere(
    case: str, spoil, row: int, wanted: str, nearest: str, tmp_path: Path
) -> None:
    odd_lerobot.CASES[case](tmp_path / "set")
    spoil(tmp_path / "set")
    source = open_source(tmp_path / "set")
    words = f"row {row} of episode 0 is at {wanted} s, but the nearest frame is at {nearest}"
    with pytest.raises(DataError, match=words):
        source.frames(0, "top", np.array([0]))  # also where the row asked for has a frame
    found = check(source)
    assert harmful(found)
    assert any(words in finding.text for finding in found)
    with pytest.raises(DataError, match=words):
        convert(source, tmp_path / "out", to="lerobot")


@pytest.mark.parametrize("off", [5e-5, -5e-5, 9e-5])
def test_times_within_lerobots_tolerance_are_taken(off: float, tmp_path: Path) -> None:
    expected = odd_lerobot.first_rows_cut(tmp_path / "set")
    retimed(tmp_path / "set", lambda t: t + off)
    assert seen(open_source(tmp_path / "set")) == expected


def test_rows_cut_from_the_middle_are_said(tmp_path: Path) -> None:
    odd_lerobot.idle_rows_cut(tmp_path / "set")
    (found,) = [f for f in check(open_source(tmp_path / "set")) if f.code == "timestamp-gap"]
    assert (found.severity, found.count, found.episodes) == ("warning", 2, ("0", "1"))
    assert "goes from 0.9 to 2 s at row 9" in found.text


def test_rows_at_another_rate_are_refused_everywhere(tmp_path: Path) -> None:
    odd_lerobot.filmed_three_times_as_fast(tmp_path / "set")
    retimed(tmp_path / "set", lambda t: t / 3)
    source = open_source(tmp_path / "set")
    assert any(f.code == "rate-differs" and f.severity == "error" for f in check(source))
    with pytest.raises(DataError, match=r"rows are 0\.03333 s apart, but the dataset states 10"):
        convert(source, tmp_path / "out", to="lerobot")


@pytest.mark.parametrize(("begin", "said"), [(0.0, True), (0.9, True), (1.2, False)])
def test_episodes_that_share_frames_are_found(begin: float, said: bool, tmp_path: Path) -> None:
    odd_lerobot.cut_by_an_edit_list(tmp_path / "set")
    begun(tmp_path / "set", lambda b: b.where(b == 0, begin))
    found = [f for f in check(open_source(tmp_path / "set")) if f.code == "frames-shared"]
    assert bool(found) is said


# --- formats without times ------------------------------------------------------------------------


def test_a_video_of_even_frames_is_taken_in_turn(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", clip(0, 10))
    assert frames_in_turn(path, 10, 10.0, episode="0").tolist() == list(range(10))
    assert frames_in_turn(path, 7, 10.0, episode="0").tolist() == list(range(7))  # spare ones
    assert frames_in_turn(path, 11, 10.0, episode="0").tolist() == list(range(10))  # one less
    assert frames_in_turn(path, 10, 8.0, episode="0").tolist() == list(range(10))  # a wrong tag
    late = film(tmp_path / "late.mp4", clip(0, 10), times=5 + np.arange(10) / 10)
    assert frames_in_turn(late, 10, 10.0, episode="0").tolist() == list(range(10))


def test_a_video_of_another_rate_is_taken_by_time(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", clip(0, 30), fps=30)
    assert frames_in_turn(path, 10, 10.0, episode="0").tolist() == list(range(0, 30, 3))


@pytest.mark.parametrize("options", [{}, REORDERED])
def test_a_camera_whose_clock_trembles(options: dict, tmp_path: Path) -> None:
    times = np.arange(20) / 10 + np.random.default_rng(0).uniform(-0.03, 0.03, 20)
    path = film(tmp_path / "a.mp4", clip(0, 20), times=times - times[0], options=options)
    assert frames_in_turn(path, 20, 10.0, episode="0").tolist() == list(range(20))


@pytest.mark.parametrize(
    ("times", "rows", "row"),
    [
        (np.delete(np.arange(20), 8) / 10, 20, 8),  # a frame was dropped
        (np.delete(np.arange(20), [3, 15]) / 10, 18, 3),  # as many rows as frames, by accident
        (np.arange(12) / 10, 20, 12),  # the camera stopped
        (np.arange(20) / 4, 40, 1),  # the camera is slower
    ],
)
def test_a_row_without_a_frame_is_refused(times, rows: int, row: int, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", clip(0, len(times)), times=times)
    with pytest.raises(DataError, match=rf"row {row} of episode ep is at {row / 10:.4f} s"):
        frames_in_turn(path, rows, 10.0, episode="ep")


def ctrl_world(root: Path, times: np.ndarray) -> Path:
    film(root / "videos/0.mp4", clip(0, len(times)), fps=5, times=times)
    rows = 20
    note = {
        "texts": ["mark"],
        "success": 1,
        "video_length": rows,
        "videos": [{"video_path": "videos/0.mp4"}],
        "states": np.random.default_rng(0).normal(size=(rows, 7)).tolist(),
    }
    (root / "annotation/train").mkdir(parents=True)
    (root / "annotation/train/0.json").write_text(json.dumps(note))
    return root


def pairs(root: Path, times: np.ndarray) -> Path:
    film(root / "0.mp4", clip(0, len(times)), fps=5, times=times)
    values = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.savez(root / "0.npz", actions=values, pose=values, fps=5)
    return root


@pytest.mark.parametrize("make", [ctrl_world, pairs])
def test_other_formats_go_by_time_too(make, tmp_path: Path) -> None:
    even, fast, gap = np.arange(20) / 5, np.arange(40) / 10, np.delete(np.arange(21), 6) / 5
    source = open_source(make(tmp_path / "even", even))
    assert shown(source.episode(0).frames[next(iter(source.spec.views))]) == list(range(20))
    source = open_source(make(tmp_path / "fast", fast))
    assert shown(source.episode(0).frames[next(iter(source.spec.views))]) == list(range(0, 40, 2))
    with pytest.raises(DataError, match=r"row 6 of episode 0 is at 1\.2000 s"):
        open_source(make(tmp_path / "gap", gap))


# --- what a player shows --------------------------------------------------------------------------


@pytest.mark.parametrize(("begin", "options"), [(0.5, {}), (1.1, {}), (1.3, REORDERED)])
def test_what_an_edit_list_cuts_off_is_not_counted(
    begin: float, options: dict[str, str], tmp_path: Path
) -> None:
    whole = film(tmp_path / "whole.mp4", clip(0, 30), options=options)
    path = trimmed(whole, begin, tmp_path / "cut.mp4")
    kept = list(range(round(10 * begin), 30))
    assert shown(read_frames(path)) == kept
    assert shown(read_frames(path, [9, 3])) == [kept[9], kept[3]]
    assert frame_times(path) == pytest.approx(np.arange(len(kept)) / 10)


def test_each_time_has_its_nearest_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", clip(0, 5), times=[0, 0.1, 0.25, 0.5, 0.6])
    wanted = np.array([0.6, 0.25, 0.0, 0.10005])
    assert frames_at(path, wanted, episode="0").tolist() == [4, 2, 0, 1]
    with pytest.raises(DataError, match=r"row 1 of episode 7 is at 0\.3000 s.* at 0\.2500 s"):
        frames_at(path, np.array([0.0, 0.3]), episode="7")
