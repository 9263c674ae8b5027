# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
"""robomimic HDF5: what is written is read back exactly, and files of others are understood."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from worldeval.data.finding import DataError
from worldeval.data.formats.robomimic.write import RobomimicWriter
from worldeval.data.source import open_source
from worldeval.data.writer import Shape

SHAPE = Shape(
    fps=10.0,
    views={"top": (48, 64), "wrist": (32, 32)},
    action_names=("dx", "dy", "dz", "grip"),
    pose_names=("x", "y", "z"),
)


@pytest.fixture
def written(tmp_path: Path, made) -> Path:
    with RobomimicWriter(tmp_path / "set.hdf5", SHAPE) as writer:
        for index in range(12):
            writer.add(made(index, length=4 + index))
    return tmp_path / "set.hdf5"


def test_round_trip_is_exact(written: Path, made) -> None:
    back = open_source(written)
    assert back.spec.format == "robomimic"
    assert (back.spec.fps, dict(back.spec.views)) == (10.0, dict(SHAPE.views))
    assert back.spec.action_names == SHAPE.action_names
    assert back.spec.pose_names == SHAPE.pose_names
    assert not back.findings
    for index, read in enumerate(back):  # demo_10 comes after demo_9, not after demo_1
        episode = made(index, length=4 + index)
        assert (read.id, read.task, read.source) == (episode.id, episode.task, episode.source)
        assert read.success is episode.success
        assert np.array_equal(read.actions, episode.actions)
        assert np.array_equal(read.pose, episode.pose)
        for view in SHAPE.views:
            assert np.array_equal(read.frames[view], episode.frames[view])


def test_the_file_says_what_robomimic_expects(written: Path, made) -> None:
    with h5py.File(written) as file:
        assert file["data"].attrs["total"] == sum(range(4, 16))
        assert json.loads(file["data"].attrs["env_args"])["env_kwargs"]["control_freq"] == 10
        demo = file["data/demo_3"]
        assert demo.attrs["num_samples"] == 7
        assert demo["rewards"][:].tolist() == [0] * 6 + [1]  # made-3 is a success
        assert demo["dones"][:].tolist() == [0] * 6 + [1]
        assert demo["obs/top_image"].dtype == np.uint8
        frames = made(3, length=7).frames["top"]
        assert np.array_equal(demo["next_obs/top_image"][:-1], frames[1:])
        assert np.array_equal(demo["next_obs/top_image"][-1], frames[-1])
        assert file["mask/train"][0] == b"demo_0"


def test_some_frames_in_any_order(written: Path) -> None:
    back = open_source(written)
    rows = np.array([5, 0, 5])
    assert np.array_equal(back.frames(9, "wrist", rows), back.frames(9, "wrist")[rows])


@pytest.fixture
def foreign(tmp_path: Path, made) -> Path:
    """A file as robosuite's own tools write it: no names, no task, rewards tell success."""
    with h5py.File(tmp_path / "low_dim.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(
            {"env_name": "Lift", "env_kwargs": {"control_freq": 20}}
        )
        for index in range(2):
            episode = made(index, length=5)
            demo = data.create_group(f"demo_{index}")
            demo.attrs["num_samples"] = 5
            demo["actions"] = episode.actions
            demo["rewards"] = np.array([0, 0, 0, 0, 1 - index], float)
            demo["obs/agentview_image"] = episode.frames["top"]
            demo["obs/robot0_eef_pos"] = episode.pose
            demo["obs/robot0_eef_quat"] = np.ones((5, 4))
            demo["obs/robot0_gripper_qpos"] = np.zeros((5, 2))
            demo["obs/object"] = np.zeros((5, 10))
        file["mask/train"] = np.array([b"demo_0"])
        file["mask/valid"] = np.array([b"demo_1"])
    return tmp_path / "low_dim.hdf5"


def test_robosuites_own_names(foreign: Path) -> None:
    source = open_source(foreign)
    assert source.spec.fps == 20
    assert list(source.spec.views) == ["agentview"]
    assert source.spec.pose_names[2:4] == ("robot0_eef_pos_2", "robot0_eef_quat_0")
    assert len(source.spec.pose_names) == 9
    assert [head.success for head in source.heads] == [True, False]
    assert [head.split for head in source.heads] == ["train", "val"]
    assert [head.task for head in source.heads] == ["Lift", "Lift"]


ARM = {"type": "OSC_POSE", "input_type": "delta", "input_max": 1, "input_min": -1}
EARLIER = {"type": "OSC_POSE", "control_delta": True}  # before robosuite 1.5


@pytest.mark.parametrize(
    ("arguments", "means"),
    [
        (
            {
                "robots": "Panda",
                "controller_configs": {"body_parts": {"right": ARM}},
            },
            ["position", "rotation", "gripper"],
        ),
        (
            {
                "robots": ["Panda"],
                "controller_configs": EARLIER,
            },
            ["position", "rotation", "gripper"],
        ),
        ({"robots": ["Panda"], "controller_configs": {"type": "OSC_POSE"}}, []),  # not said
        ({"robots": ["Panda"], "controller_configs": {**ARM, "type": "JOINT_POSITION"}}, []),
        ({"robots": ["Panda", "Panda"], "controller_configs": ARM}, []),
        ({"robots": ["Panda"], "controller_configs": {**ARM, "type": "OSC_POSITION"}}, []),  # of 4
        ({"robots": 7, "controller_configs": [[]]}, []),
    ],
)
def test_the_controller_of_one_arm_says_what_its_actions_mean(foreign, arguments, means) -> None:
    with h5py.File(foreign, "r+") as file:
        about = {"env_name": "Lift", "env_kwargs": {"control_freq": 20, **arguments}}
        file["data"].attrs["env_args"] = json.dumps(about)
        for demo in file["data"].values():
            del demo["actions"]
            demo["actions"] = np.zeros((5, 7))
    action = open_source(foreign).spec.meaning.action
    assert [group.means for group in action if not group.guessed] == means
    if means:
        assert [group.motion for group in action[:2]] == ["delta", "delta"]
        assert (action[1].form, action[2].open, action[2].closed) == ("axis-angle", -1, 1)


@pytest.mark.parametrize(
    ("masks", "splits", "unlisted"),
    [
        ({"train": ["demo_0"]}, ["train", "unlisted"], True),
        ({"train": [], "valid": ["demo_1"]}, ["unlisted", "val"], True),
        ({"train": ["demo_1"], "valid": []}, ["unlisted", "train"], True),
        ({"train": ["demo_1", "demo_0"]}, ["train", "train"], False),
        ({"train": ["demo_0", "demo_1"], "valid": ["demo_1"]}, ["train", "val"], False),
        ({"valid": ["demo_0"]}, ["val", "train"], False),
        ({"better": ["demo_0"]}, ["train", "train"], False),
    ],
)
def test_only_demos_of_the_train_mask_are_trained_on(foreign, masks, splits, unlisted) -> None:
    with h5py.File(foreign, "r+") as file:
        del file["mask"]
        for name, demos in masks.items():
            file[f"mask/{name}"] = np.array(demos, "S8")
    source = open_source(foreign)
    assert [head.split for head in source.heads] == splits
    assert ("split-unlisted" in [finding.code for finding in source.findings]) is unlisted


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint16])
def test_pictures_that_are_not_bytes_are_said_to_be_left_out(foreign: Path, kind) -> None:
    with h5py.File(foreign, "r+") as file:
        for demo in file["data"].values():
            demo["obs/wrist_image"] = demo["obs/agentview_image"][:].astype(kind)
    source = open_source(foreign)
    assert list(source.spec.views) == ["agentview"]
    (finding,) = [one for one in source.findings if one.code == "pictures-left-out"]
    assert (finding.field, np.dtype(kind).name in finding.text) == ("wrist_image", True)


def test_a_file_of_float_pictures_alone_is_refused(foreign: Path) -> None:
    with h5py.File(foreign, "r+") as file:
        for demo in file["data"].values():
            frames = demo["obs/agentview_image"][:]
            del demo["obs/agentview_image"]
            demo["obs/agentview_image"] = frames / 255
    with pytest.raises(DataError, match=r"no images; expected uint8 \(0 to 255\)"):
        open_source(foreign)


def test_without_any_reward_success_is_unknown(foreign: Path) -> None:
    with h5py.File(foreign, "r+") as file:
        file["data/demo_0/rewards"][:] = 0
    assert [head.success for head in open_source(foreign).heads] == [None, None]


def test_fewer_rows_than_samples_are_said_and_cut(foreign: Path) -> None:
    with h5py.File(foreign, "r+") as file:
        file["data/demo_0"].attrs["num_samples"] = 4
    source = open_source(foreign)
    assert source.heads[0].length == 4
    assert [finding.code for finding in source.findings] == ["frame-count", "success-guessed"]
    assert len(source.episode(0).frames["agentview"]) == 4


def test_a_damaged_demonstration_is_skipped_and_counted(foreign: Path) -> None:
    with h5py.File(foreign, "r+") as file:
        del file["data/demo_1/actions"]
    source = open_source(foreign)
    assert [head.id for head in source.heads] == ["demo_0"]
    assert [(f.code, f.episode) for f in source.findings] == [
        ("episode-skipped", "demo_1"),
        ("success-guessed", None),
    ]
    assert "/data/demo_1/actions: it is missing" in source.findings[0].text


def test_links_to_other_files_are_not_followed(foreign: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["actions"] = np.zeros((5, 4))
    with h5py.File(foreign, "r+") as file:
        for index in range(2):
            del file[f"data/demo_{index}/actions"]
            file[f"data/demo_{index}/actions"] = h5py.ExternalLink("other.h5", "/actions")
    with pytest.raises(DataError, match=r"actions: it is a link to other\.h5"):
        open_source(foreign)
