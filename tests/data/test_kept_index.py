"""The index of a large dataset is read once, and again as soon as a file has changed."""

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.support.toy import toy_shards
from worldeval.data import kept_index
from worldeval.data.formats.ctrl_world import CtrlWorldSource
from worldeval.data.formats.shards.read import ShardsSource
from worldeval.data.source import open_source
from worldeval.data.table import RecordedEpisodes

LONG_AGO = (10**9, 10**9)


@pytest.fixture(autouse=True)
def small_datasets_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_index, "MANY", 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def settle(folder: Path) -> Path:
    for path in folder.rglob("*"):
        os.utime(path, LONG_AGO)
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The shards that were opened by their reader."""
    found, plain = [], ShardsSource.__init__

    def watched(self: ShardsSource, path: Path, *more: object) -> None:
        found.append(path)
        plain(self, path, *more)

    monkeypatch.setattr(ShardsSource, "__init__", watched)
    return found


def same(one: RecordedEpisodes, other: RecordedEpisodes) -> bool:
    arrays = ("actions", "pose", "flags", "timed")
    equal = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return equal and one.heads == other.heads and one.episodes.equals(other.episodes)


def test_the_second_opening_reads_the_kept_index(tmp_path: Path, opened: list[Path]) -> None:
    data = settle(toy_shards(tmp_path / "data", episodes=4))
    plain = ShardsSource(data)
    first = open_source(data)
    table = RecordedEpisodes([first])
    count = len(opened)
    again = open_source(data)
    assert same(RecordedEpisodes([again]), table)
    assert asdict(again.spec) == asdict(first.spec) and again.findings == first.findings
    assert len(opened) == count  # neither heads nor rows
    view, rows = next(iter(again.spec.views)), np.array([2, 0])
    assert np.array_equal(again.frames(1, view, rows), plain.frames(1, view, rows))
    assert len(opened) == count + 1  # for pictures


def test_a_changed_dataset_is_read_again(tmp_path: Path, opened: list[Path]) -> None:
    data = settle(toy_shards(tmp_path / "data", episodes=4))
    before = len(open_source(data))
    toy_shards(tmp_path / "more", episodes=2, seed=1)
    for file in (tmp_path / "more").iterdir():
        file.rename(data / f"more-{file.name}")
    settle(data)
    assert len(open_source(data)) > before
    count = len(opened)
    file = data / "more-left.h5"
    os.utime(file, (LONG_AGO[0] + 1, LONG_AGO[0] + 1))  # the same bytes, written again
    open_source(data)
    assert len(opened) == count + 1


def test_a_dataset_that_was_just_written_is_not_kept(tmp_path: Path, opened: list[Path]) -> None:
    data = toy_shards(tmp_path / "data", episodes=4)
    open_source(data)
    open_source(data)
    assert len(opened) == 2 and not (tmp_path / "cache").exists()


def test_a_damaged_index_is_made_again(tmp_path: Path, opened: list[Path]) -> None:
    data = settle(toy_shards(tmp_path / "data", episodes=4))
    table = RecordedEpisodes([open_source(data)])
    for name in (kept_index.HEADS, kept_index.ROWS):
        (kept,) = (tmp_path / "cache").rglob(name)
        kept.write_bytes(kept.read_bytes()[:-100])
        assert same(RecordedEpisodes([open_source(data)]), table)


def test_videos_are_not_probed_twice(
    droid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, first = CtrlWorldSource(droid), open_source(droid)
    monkeypatch.setattr(kept_index, "SETTLED", 0)  # the files may have just been made
    first = open_source(droid)
    expected = [first.rows(index) for index in range(len(first))]

    def never(*_: object) -> None:
        raise AssertionError("the index was kept")

    monkeypatch.setattr(CtrlWorldSource, "__init__", never)
    again = open_source(droid)
    assert again.heads == plain.heads and again.findings == plain.findings
    for index, rows in enumerate(expected):
        kept = again.rows(index)
        assert np.array_equal(kept.actions, rows.actions) and np.array_equal(kept.pose, rows.pose)
        assert (kept.times, kept.flags, kept.task) == (rows.times, rows.flags, rows.task)
    fourth = np.array([3])
    assert np.array_equal(again.frames(1, "wrist", fourth), plain.frames(1, "wrist", fourth))
    assert np.array_equal(again.latents(0)["wrist"], plain.latents(0)["wrist"])
    assert again.spec == first.spec
