"""Conversion: every format becomes every other, in blocks, and goes on after a stop."""

from pathlib import Path

import numpy as np
import pytest

from worldeval.data import source as sources
from worldeval.data.convert import convert
from worldeval.data.data_map import read_map
from worldeval.data.finding import DataError
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.source import open_source
from worldeval.errors import UserError


@pytest.fixture
def original(tmp_path: Path, made) -> Path:
    layout = Layout(
        fps=10.0,
        views={"top": (48, 64), "wrist": (32, 32)},
        action_names=("dx", "dy", "dz", "grip"),
        pose_names=("x", "y", "z"),
    )
    with LeRobotWriter(tmp_path / "original", layout) as writer:
        for index in range(4):
            writer.add(made(index, length=150 if index == 2 else 5))  # longer than a block
    return tmp_path / "original"


def same(one: Path, other: Path, quality, *, least: float) -> None:
    for a, b in zip(open_source(one), open_source(other), strict=True):
        assert (a.id, a.task, a.success, a.source) == (b.id, b.task, b.success, b.source)
        assert np.array_equal(a.actions, b.actions)
        assert np.array_equal(a.pose, b.pose)
        for view in a.frames:
            assert quality(a.frames[view], b.frames[view]) > least


def test_there_and_back_again(original: Path, tmp_path: Path, quality) -> None:
    done = convert(open_source(original), tmp_path / "set.hdf5", to="robomimic")
    assert (done.episodes, done.frames, done.skipped) == (4, 165, [])
    same(original, tmp_path / "set.hdf5", quality, least=99)
    convert(open_source(tmp_path / "set.hdf5"), tmp_path / "again", to="lerobot")
    same(original, tmp_path / "again", quality, least=38)


def test_only_some_views(original: Path, tmp_path: Path) -> None:
    convert(open_source(original), tmp_path / "set", to="lerobot", views=("wrist",))
    assert list(open_source(tmp_path / "set").spec.views) == ["wrist"]


def test_an_interruption_is_continued(original: Path, tmp_path: Path, monkeypatch, quality) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        convert(open_source(original), out, to="lerobot", progress=stop)
    assert not out.exists()
    source, read = open_source(original), []
    frames = source.frames
    monkeypatch.setattr(
        source, "frames", lambda index, *rest: read.append(index) or frames(index, *rest)
    )
    convert(source, out, to="lerobot")
    assert set(read) == {2, 3}
    same(original, out, quality, least=38)


def test_memory_holds_a_block_of_frames_not_an_episode(original: Path, monkeypatch) -> None:
    source, asked = open_source(original), []
    frames = source.frames

    def watched(index: int, view: str, rows=None):
        asked.append(150 if rows is None else len(rows))
        return frames(index, view, rows)

    monkeypatch.setattr(source, "frames", watched)
    convert(source, original.with_name("set"), to="lerobot")
    assert max(asked) == sources.BLOCK


def test_a_damaged_episode_stops_or_is_left_out_and_reported(
    original: Path, tmp_path: Path
) -> None:
    def damaged():
        source, rows = open_source(original), None
        rows = source.rows

        def read(index: int):
            if index == 1:
                raise DataError(Path("x.parquet"), "action", "it is broken.")
            return rows(index)

        source.rows = read
        return source

    with pytest.raises(DataError, match=r"x\.parquet: action: it is broken"):
        convert(damaged(), tmp_path / "set", to="lerobot")
    done = convert(damaged(), tmp_path / "set", to="lerobot", skip_damaged=True)
    assert (done.episodes, [f.episode for f in done.skipped]) == (3, ["made-1"])
    assert [head.id for head in open_source(tmp_path / "set").heads] == [
        "made-0",
        "made-2",
        "made-3",
    ]


def test_mistakes(original: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'lerobot'"):
        convert(open_source(original), tmp_path / "set", to="lerobo")
    with pytest.raises(UserError, match=r"Give a name such as .*set\.hdf5"):
        convert(open_source(original), tmp_path / "set", to="robomimic")
    with pytest.raises(UserError, match="already exists"):
        convert(open_source(original), original, to="lerobot")


MAP = """
action:
  columns:
    - {names: [dx, dy, dz], means: position, motion: delta, unit: cm, arm: "left \\u00e9"}
    - {names: [grip], means: gripper, open: 1, closed: -1}
pose:
  columns:
    - {names: [px, py], means: planar, unit: px}
    - {names: [lift], means: object}
task: lift the cube
"""


@pytest.mark.parametrize(("to", "name"), [("lerobot", "set"), ("shards", "set"),
                                          ("robomimic", "set.hdf5")])  # fmt: skip
@pytest.mark.parametrize("units", [False, True])
def test_what_a_map_says_of_the_columns_is_kept(
    original: Path, tmp_path: Path, to: str, name: str, *, units: bool
) -> None:
    """So that a converted dataset needs no map."""
    (tmp_path / "map.yaml").write_text(MAP + f"convert_units: {units}\n")
    source = open_source(original, given=read_map(tmp_path / "map.yaml"))
    convert(source, tmp_path / name, to=to, views=("top",))
    read = open_source(tmp_path / name)
    assert read.spec.meaning == source.spec.meaning and read.spec.space == source.spec.space
    unit = "m" if units else "cm"
    assert read.spec.meaning.action[0].unit == unit
    said = "" if unit == "m" else f",{unit}"
    assert read.spec.space.startswith(f"left é: ee-delta(xyz{said})+0, gripper: gripper(1)")
    assert read.spec.pose_names == ("px", "py")
    assert {head.task for head in read.heads} == {"lift the cube"}
    assert np.array_equal(read.rows(0).actions, source.rows(0).actions)
    again = tmp_path / "again"
    convert(read, again, to="shards")
    assert open_source(again).spec.meaning == source.spec.meaning


def test_guesses_stay_guesses_and_a_map_still_goes_first(original: Path, tmp_path: Path) -> None:
    convert(open_source(original), tmp_path / "set", to="lerobot")
    read = open_source(tmp_path / "set")
    assert all(group.guessed for group in read.spec.meaning.pose)
    (tmp_path / "map.yaml").write_text(MAP)
    mapped = open_source(tmp_path / "set", given=read_map(tmp_path / "map.yaml"))
    assert mapped.spec.meaning.action[0].unit == "cm"


@pytest.mark.parametrize("text", ["[]", '{"action": [{"names": []}]}', '{"fps": 3}', '{"pose": 3}'])
def test_a_damaged_meaning_is_refused(original: Path, text: str) -> None:
    (original / "meta/worldeval.json").write_text(text)
    with pytest.raises(DataError, match=r"worldeval\.json.*(cannot be read|a JSON object)"):
        open_source(original)


def test_a_meaning_of_other_columns_is_not_used(original: Path) -> None:
    (original / "meta/worldeval.json").write_text('{"pose": [{"names": ["a"], "means": "other"}]}')
    assert [group.names for group in open_source(original).spec.meaning.pose] == [("x", "y", "z")]
