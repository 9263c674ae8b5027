# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Maps: what a person says of a dataset reaches every reader, and comes back as text."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from tests.support.sound_datasets import FORMATS, LENGTH, episode, make
from worldeval.config import build
from worldeval.data.columns import ColumnGroup
from worldeval.data.data_map import DataMap, NumbersMap, read_map
from worldeval.data.map_text import write_map
from worldeval.data.recipe import RecordedRecipe
from worldeval.data.source import open_source
from worldeval.data.success_rule import read_rule
from worldeval.errors import UserError

ARM = """
fps: 12
action:
  columns:
    - {names: [vx], means: other}
    - {names: [grip], means: gripper, open: 1, closed: -1}
pose:
  columns:
    - {names: [px, py], means: planar, unit: mm}
    - {names: [block], means: object}
task: push the block
"""


def said(path: Path, text: str) -> Path:
    (path / "map.yaml").write_text(text)
    return path / "map.yaml"


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "ctrl-world"])
def test_every_reader_goes_through_a_map(tmp_path: Path, kind: str) -> None:
    plain = open_source(make(kind, tmp_path / "set"))
    source = open_source(tmp_path / "set", given=read_map(said(tmp_path, ARM)))
    assert source.spec.fps == 12
    assert source.spec.action_names == ("vx", "grip") and source.spec.pose_names == ("px", "py")
    assert [head.task for head in source.heads] == ["push the block"] * len(source)
    assert np.array_equal(source.rows(0).pose, plain.rows(0).pose[:, :2])
    assert np.array_equal(source.rows(0).actions, plain.rows(0).actions)
    assert source.spec.meaning.pose == (
        ColumnGroup(names=("px", "py"), means="planar", unit="mm"),
    )  # fmt: skip
    view = next(iter(plain.spec.views))
    assert np.array_equal(source.frames(0, view), plain.frames(0, view))


def test_units_are_converted_only_where_that_is_asked_for(tmp_path: Path) -> None:
    plain = open_source(make("lerobot-v3", tmp_path / "set")).rows(0)
    text = ARM + "convert_units: true\n"
    source = open_source(tmp_path / "set", given=read_map(said(tmp_path, text)))
    assert np.allclose(source.rows(0).pose, plain.pose[:, :2] / 1000)
    assert np.allclose(source.rows(0).actions[:, 1], (1 - plain.actions[:, 1]) / 2)  # 0 is open
    assert source.spec.meaning.pose[0].unit == "m"
    assert (source.spec.meaning.action[1].open, source.spec.meaning.action[1].closed) == (0, 1)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_printed_map_reads_the_same(tmp_path: Path, kind: str) -> None:
    source = open_source(make(kind, tmp_path / "set"))
    text = write_map(source)
    again = open_source(tmp_path / "set", given=read_map(said(tmp_path, text)))
    for index in range(len(source)):
        assert np.array_equal(again.rows(index).actions, source.rows(index).actions)
        assert np.array_equal(again.rows(index).pose, source.rows(index).pose)
        assert again.heads[index].success == source.heads[index].success
    assert again.spec.views == source.spec.views and again.spec.fps == source.spec.fps
    assert write_map(again).count("# guess") <= text.count("# guess")


def test_what_was_guessed_is_marked(tmp_path: Path) -> None:
    text = write_map(open_source(make("zarr", tmp_path / "set")))
    assert "fps: 10.0  # guess" in text
    assert "means: other}  # guess" in text
    sure = write_map(open_source(make("ctrl-world", tmp_path / "droid")))
    assert "{names: [x, y, z], means: position, unit: m}\n" in sure  # the format says so
    assert "# guess" not in sure


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("action: {key: [a]}", r"there is no key 'action.key'. Did you mean 'keys'"),
        ("fps: fast", "'fps' is 'fast'"),
        ("pose: {columns: [{names: [a, b], means: position}]}", "expected x, y and z"),
        ("pose: {columns: [{names: [a, b, c], means: rotation}]}", "has no form"),
        ("pose: {columns: [{names: [a], means: joint, unit: furlong}]}", "unit 'furlong'"),
        ("pose: {columns: [{names: [a, a], means: other}]}", "several columns are called a"),
        ("success: reward is high", "is not a valid rule"),
        ("{task: a, task_key: b}", "not both"),
        ("[1, 2]", "has no keys"),
        ("a: [", "not readable YAML"),
        ("depth: {d: [2, 1]}", r"near \(2\.0\) must be less than far \(1\.0\)"),
    ],
)
def test_a_wrong_map_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_map(said(tmp_path, text))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (DataMap(channels="bgr"), "sets 'channels', which the format robomimic does not support"),
        (DataMap(action=NumbersMap(keys=("acts",))), "acts: it is missing"),
        (DataMap(views={"top": "front"}), "front: it is missing"),
        (
            DataMap(pose=NumbersMap(columns=(ColumnGroup(names=("a",)),))),
            r"describes 1 columns of the pose \(a\), but .* has 3",
        ),
        (
            DataMap(pose=NumbersMap(columns=(ColumnGroup(names=("a", "b", "c"), means="object"),))),
            "excludes every column of the pose",
        ),
        (DataMap(success="wins > 0"), "wins: it is missing"),
    ],
)
def test_a_map_that_does_not_fit_the_data_is_refused(tmp_path: Path, given, says: str) -> None:
    with pytest.raises(UserError, match=says):
        open_source(make("robomimic", tmp_path / "set"), given=given)


def test_a_map_in_a_dataset_recipe(tmp_path: Path) -> None:
    path = make("zarr", tmp_path / "set")
    raw = {"path": str(path), "source": yaml.safe_load(ARM)}
    source = build(RecordedRecipe, raw, where="r").build()
    assert (source.spec.fps, source.spec.pose_names) == (12, ("px", "py"))


REWARDS = ([0.0, 0.2, 0.4, 0.97, 0.5], [0.0, 0.1, 0.2, 0.3, 0.99], [0.1, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("rule", "success"),
    [
        ("", [None, None, None]),  # shaped: a positive reward is no success
        ("reward >= 0.95", [True, True, False]),
        ("reward >= 0.95 in the last frame", [False, True, False]),
        ("reward >= 0.05 in every frame", [False, False, True]),
        ("reward > 2, over the episode", [True, False, False]),
        ("rewards < 0.05", [True, True, False]),
    ],
)
def test_success_of_shaped_rewards_is_what_a_rule_says(tmp_path: Path, rule: str, success) -> None:
    path = make("robomimic", tmp_path / "set") / "set.hdf5"
    with h5py.File(path, "r+") as file:
        for demo, rewards in zip(file["data"].values(), REWARDS, strict=True):
            del demo.attrs["success"]
            demo["rewards"][:] = rewards
            del demo["rewards"].attrs["worldeval_crc32"]  # a change of one's own is kept so
    source = open_source(path, given=DataMap(success=rule))
    assert [head.success for head in source.heads] == success
    if not rule:
        (finding,) = [one for one in source.findings if one.code == "no-success"]
        assert "success: reward" in finding.text


@pytest.mark.parametrize("text", ["reward", ">= 1", "reward = 1", "reward >= 1 at last", "a b > 1"])
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid rule"):
        read_rule(text)


def test_libero_tells_the_words_of_its_task(tmp_path: Path) -> None:
    path = make("robomimic", tmp_path / "set") / "set.hdf5"
    with h5py.File(path, "r+") as file:
        file["data"].attrs["problem_info"] = json.dumps(
            {"language_instruction": ["turn ", "on the stove"]}
        )
        for demo in file["data"].values():
            del demo.attrs["task"], demo.attrs["ep_meta"]
    assert {head.task for head in open_source(path).heads} == {"turn on the stove"}


MODALITY = {
    "state": {
        "eef_position": {"start": 0, "end": 3},
    },
    "action": {
        "left_gripper": {"start": 0, "end": 1, "absolute": False},
        "left_arm": {"start": 1, "end": 2, "original_key": "action"},
    },
    "video": {"front": {"original_key": "observation.images.top"}},
    "annotation": {"human.task": {"original_key": "task_index"}},
}


def test_gr00ts_modality_is_a_map(tmp_path: Path) -> None:
    (tmp_path / "modality.json").write_text(json.dumps(MODALITY))
    given = read_map(tmp_path / "modality.json")
    source = open_source(make("lerobot-v3", tmp_path / "set"), given=given)
    assert list(source.spec.views) == ["front"]
    assert source.spec.action_names == ("left_gripper", "left_arm")
    gripper, arm = source.spec.meaning.action
    assert (gripper.means, gripper.arm, gripper.motion) == ("gripper", "left", "delta")
    assert (arm.means, arm.motion) == ("joint", "absolute")
    assert source.spec.meaning.pose[0].means == "position"
    assert np.array_equal(source.rows(1).actions, episode(1).actions)
    assert len(source.frames(0, "front")) == LENGTH


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"start": 1, "end": 1}, "not a valid range of columns"),
        ({"start": 0, "end": 2}, "which belongs to another part"),
    ],
)
def test_a_damaged_modality_is_refused(tmp_path: Path, part, says: str) -> None:
    raw = {**MODALITY, "action": {**MODALITY["action"], "right_arm": part}}
    (tmp_path / "modality.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match=says):
        read_map(tmp_path / "modality.json")
