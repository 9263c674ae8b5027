"""Any dataset as shards: what is written is read back, several episodes to a file."""

from pathlib import Path

import numpy as np
import pytest

from worldeval.data.adapt import AdaptedSource
from worldeval.data.convert import convert
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.formats.shards import write as shards_write
from worldeval.data.source import open_source
from worldeval.data.table import read_table
from worldeval.errors import UserError

SIZE = (24, 24)


@pytest.fixture
def original(tmp_path: Path, made) -> Path:
    layout = Layout(
        fps=10.0,
        views={"top": (48, 64), "wrist": (32, 32)},
        action_names=("dx", "dy", "dz", "grip"),
        pose_names=("x", "y", "z"),
    )
    with LeRobotWriter(tmp_path / "original", layout) as writer:
        for index in range(5):
            split = "val" if index == 4 else "train"
            writer.add(made(index, length=6 + index), columns={"split": split})
    return tmp_path / "original"


def test_everything_that_training_reads(original: Path, tmp_path: Path, monkeypatch) -> None:
    source = AdaptedSource(open_source(original), size=SIZE)
    monkeypatch.setattr(shards_write, "SHARD_MB", 0.05)  # two of these episodes
    done = convert(source, tmp_path / "set", to="shards")
    assert (done.episodes, done.frames) == (5, 40)
    assert len(list((tmp_path / "set").glob("*.h5"))) > 1
    shards = read_table(tmp_path / "set")
    assert (shards.views, shards.size, shards.fps) == (("top", "wrist"), SIZE, 10.0)
    assert shards.episodes["success"].tolist() == [1, 0, -1, 1, 0]
    assert shards.episodes["seed"].tolist() == [0, 1, 2, 3, 4]
    assert shards.flags[shards.rows(3)].tolist() == [0] * 8 + [1]
    back = open_source(tmp_path / "set")
    assert (back.spec.action_names, back.spec.pose_names) == (
        ("dx", "dy", "dz", "grip"),
        ("x", "y", "z"),
    )
    for one, other in zip(source, back, strict=True):
        assert (one.id, one.task, one.success, one.source) == (
            other.id,
            other.task,
            other.success,
            other.source,
        )
        assert np.array_equal(one.actions, other.actions)
        assert np.array_equal(one.pose, other.pose)
        for view in one.frames:
            assert np.array_equal(one.frames[view], other.frames[view])


def test_only_the_training_split(original: Path, tmp_path: Path) -> None:
    source = AdaptedSource(open_source(original), size=SIZE)
    assert convert(source, tmp_path / "set", to="shards", split="train").episodes == 4
    assert [head.id for head in open_source(tmp_path / "set").heads][-1] == "made-3"
    with pytest.raises(UserError, match=r"in the split 'trian'\. Did you mean 'train'\?"):
        convert(source, tmp_path / "other", to="shards", split="trian")


def test_views_of_two_sizes_are_refused(original: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"top 48x64, wrist 32x32\. Set one with --size"):
        convert(open_source(original), tmp_path / "set", to="shards")


def test_two_episodes_of_one_name(original: Path, tmp_path: Path) -> None:
    source = AdaptedSource(open_source(original), size=SIZE)
    source.heads[1] = source.heads[0].__class__(**{**vars(source.heads[1]), "id": "made-0"})
    with pytest.raises(UserError, match="Two episodes are called 'made-0'"):
        convert(source, tmp_path / "set", to="shards")
    assert not (tmp_path / "set").exists()
