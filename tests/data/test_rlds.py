"""RLDS / Open X-Embodiment, from files that were written byte by byte (tests/support)."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.support import tfrecords
from tests.support.marked_frames import Mark, read_marks, swapped
from worldeval.data.check.check import check
from worldeval.data.convert import convert
from worldeval.data.data_map import DataMap, NumbersMap
from worldeval.data.finding import DataError
from worldeval.data.formats.rlds.tfrecord import masked_crc
from worldeval.data.source import open_source
from worldeval.errors import UserError

EPISODES = [tfrecords.episode(i, 4 + i, f"task {i % 2}") for i in range(4)]


@pytest.fixture
def bridge(tmp_path: Path) -> Path:
    shards = {"train": [EPISODES[:2], EPISODES[2:3]], "val": [EPISODES[3:]]}
    return tfrecords.write_dataset(tmp_path / "bridge/1.0.0", shards)


def test_the_checksum_is_that_of_the_standard() -> None:
    """RFC 3720, appendix B.4: 32 bytes of zero and of one."""
    assert tfrecords.crc32c(bytes(32)) == 0x8A9136AA
    assert tfrecords.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert masked_crc(b"worldeval").to_bytes(4, "little") == tfrecords.masked(b"worldeval")


def test_episodes_in_order_with_their_splits_and_words(bridge: Path) -> None:
    source = open_source(bridge)
    assert source.spec.format == "rlds"
    assert [head.id for head in source.heads] == [
        "train-00000-0", "train-00000-1", "train-00001-0", "val-00000-0",
    ]  # fmt: skip
    assert [head.length for head in source.heads] == [4, 5, 6, 7]
    assert [head.task for head in source.heads] == ["task 0", "task 1", "task 0", "task 1"]
    assert [head.split for head in source.heads] == ["train", "train", "train", "val"]
    assert [head.success for head in source.heads] == [None] * 4
    assert list(source.spec.views) == ["image_0", "image_1"]
    for index, made in enumerate(EPISODES):
        rows = source.rows(index)
        assert np.array_equal(rows.actions, made["steps/action"])
        assert np.array_equal(rows.pose, made["steps/observation/state"])
        for camera, view in enumerate(source.spec.views):
            frames = source.frames(index, view)
            assert read_marks(frames) == [Mark(index, t, camera) for t in range(4 + index)]
            assert not swapped(frames[0])
    shown = source.frames(2, "image_1", np.array([5, 0, 5]))
    assert [mark.frame for mark in read_marks(shown)] == [5, 0, 5]


def test_the_folder_above_the_version_is_enough(bridge: Path) -> None:
    assert len(open_source(bridge.parent)) == 4


def test_what_the_format_leaves_open_is_said_and_a_map_answers_it(bridge: Path) -> None:
    codes = {finding.code for finding in open_source(bridge).findings}
    assert codes == {"fps-guessed", "no-success", "pose-guessed"}
    given = DataMap(
        fps=5,
        success="reward >= 1 in the last frame",
        pose=NumbersMap(keys=("observation/state",)),
        views={"over": "observation/image_1"},
    )
    source = open_source(bridge, given=given)
    assert (source.spec.fps, list(source.spec.views)) == (5, ["over"])
    assert [head.success for head in source.heads] == [True, False, True, False]
    flags = source.rows(0).flags
    assert flags is not None and flags.tolist() == [0, 0, 0, 1]
    assert source.findings == []


DROID = {
    "action": tfrecords.tensor(7, dtype="float64"),
    "action_dict": tfrecords.nested({"joint_velocity": tfrecords.tensor(7, dtype="float64")}),
    "is_first": tfrecords.tensor(dtype="bool"),
    "is_last": tfrecords.tensor(dtype="bool"),
    "language_instruction": {"text": {}},
    "observation": tfrecords.nested(
        {
            "cartesian_position": tfrecords.tensor(6, dtype="float64"),
            "gripper_position": tfrecords.tensor(1, dtype="float64"),
            "exterior_image_1_left": tfrecords.image(32, 64, 3),
        }
    ),
}


def droid_episode(length: int) -> dict:
    made = tfrecords.episode(1, length, "")
    rng = np.random.default_rng(0)
    return {
        "steps/action": made["steps/action"],
        "steps/action_dict/joint_velocity": rng.normal(size=(length, 7)),
        "steps/is_first": made["steps/is_first"],
        "steps/is_last": made["steps/is_last"],
        "steps/language_instruction": made["steps/language_instruction"],
        "steps/observation/cartesian_position": rng.normal(size=(length, 6)),
        "steps/observation/gripper_position": rng.random(length),
        "steps/observation/exterior_image_1_left": made["steps/observation/image_0"],
    }


def test_droids_names_and_another_action(tmp_path: Path) -> None:
    made = droid_episode(5)
    path = tfrecords.write_dataset(tmp_path / "droid", {"train": [[made]]}, steps=DROID)
    source = open_source(path)
    assert source.spec.pose_names[-2:] == ("cartesian_position_5", "gripper_position")
    assert list(source.spec.views) == ["exterior_image_1_left"]
    assert source.heads[0].task == ""
    given = DataMap(action=NumbersMap(keys=("action_dict/joint_velocity",)))
    velocity = open_source(path, given=given).rows(0).actions
    assert np.allclose(velocity, made["steps/action_dict/joint_velocity"], atol=1e-6)


@pytest.mark.parametrize("encoding", ["bytes", "zlib"])
def test_encoded_tensors(tmp_path: Path, encoding: str) -> None:
    steps = {**tfrecords.BRIDGE, "action": tfrecords.tensor(7, encoding=encoding)}
    actions = EPISODES[0]["steps/action"]
    cells = [row.tobytes() for row in actions]
    made = {
        **EPISODES[0],
        "steps/action": [zlib.compress(cell) if encoding == "zlib" else cell for cell in cells],
    }
    path = tfrecords.write_dataset(tmp_path / "set", {"train": [[made]]}, steps=steps)
    assert np.array_equal(open_source(path).rows(0).actions, actions)


@pytest.mark.parametrize(("counts", "sound"), [([7] * 4, True), ([7, 7, 8, 6], False)])
def test_ragged_lengths(tmp_path: Path, counts, sound: bool) -> None:
    steps = {
        **tfrecords.BRIDGE,
        "action": {"sequence": {"feature": tfrecords.tensor(), "length": "-1"}},
    }
    made = {key: value for key, value in EPISODES[0].items() if key != "steps/action"}
    made["steps/action/ragged_flat_values"] = EPISODES[0]["steps/action"]
    made["steps/action/ragged_row_lengths_0"] = np.array(counts)
    path = tfrecords.write_dataset(tmp_path / "set", {"train": [[made]]}, steps=steps)
    if sound:
        assert np.array_equal(open_source(path).rows(0).actions, EPISODES[0]["steps/action"])
    else:
        with pytest.raises(DataError, match="different lengths"):
            open_source(path)


def test_an_action_in_parts_is_refused_until_a_map_orders_them(tmp_path: Path) -> None:
    parts = {"world_vector": tfrecords.tensor(3), "open_gripper": tfrecords.tensor(dtype="bool")}
    steps = {**tfrecords.BRIDGE, "action": tfrecords.nested(parts)}
    made = {key: value for key, value in EPISODES[0].items() if key != "steps/action"}
    made["steps/action/world_vector"] = EPISODES[0]["steps/action"][:, :3]
    made["steps/action/open_gripper"] = np.array([True, False, True, True])
    path = tfrecords.write_dataset(tmp_path / "set", {"train": [[made]]}, steps=steps)
    with pytest.raises(DataError, match=r"action/world_vector.*action: keys:"):
        open_source(path)
    keys = ("action/world_vector", "action/open_gripper")
    source = open_source(path, given=DataMap(action=NumbersMap(keys=keys)))
    assert source.spec.action_names[-1] == "open_gripper"
    assert source.rows(0).actions[:, 3].tolist() == [1, 0, 1, 1]


def spoil_content(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def other_file(file: Path) -> None:
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (spoil_content, "checksum"),
        (cut, "truncated"),
        (other_file, "checksum of its length is wrong"),
        (Path.unlink, "1 of 2 files are missing"),
    ],
)
def test_damage_is_named_and_the_rest_is_read(bridge: Path, damage, says: str) -> None:
    damage(bridge / "bridge-train.tfrecord-00001-of-00002")
    source = open_source(bridge)
    assert [head.length for head in source.heads] == [4, 5, 7]
    assert any(says in finding.text for finding in source.findings)


def test_a_picture_of_depth_is_left_out_or_shown_in_grey(tmp_path: Path) -> None:
    depth = tfrecords.image(32, 64, 1, dtype="uint16", encoding="png")
    steps = {
        **tfrecords.BRIDGE,
        "observation": tfrecords.nested(
            {
                **tfrecords.BRIDGE["observation"]["featuresDict"]["features"],
                "depth": depth,
            }
        ),
    }
    far = np.full((32, 64), 1900, np.uint16)
    made = {**EPISODES[0], "steps/observation/depth": [tfrecords.packed(far, "png")] * 4}
    path = tfrecords.write_dataset(tmp_path / "set", {"train": [[made]]}, steps=steps)
    source = open_source(path)
    assert list(source.spec.views) == ["image_0", "image_1"]
    assert "depth-left-out" in [finding.code for finding in source.findings]
    shown = open_source(path, given=DataMap(depth={"observation/depth": (400, 1900)}))
    assert (shown.frames(0, "depth") == 255).all()


def test_a_folder_without_steps_is_refused(tmp_path: Path) -> None:
    path = tfrecords.write_dataset(tmp_path / "set", {"train": [[EPISODES[0]]]})
    flat = tfrecords.nested({"image": tfrecords.image(32, 64, 3)})
    (path / "features.json").write_text(json.dumps(flat))
    with pytest.raises(DataError, match="not an RLDS dataset"):
        open_source(path)


def test_it_is_checked_and_converted_like_any_other(bridge: Path, tmp_path: Path) -> None:
    source = open_source(bridge)
    assert all(finding.code != "episode-skipped" for finding in check(source))
    convert(source, tmp_path / "out", to="lerobot")
    back = open_source(tmp_path / "out")
    assert [head.id for head in back.heads] == [head.id for head in source.heads]
    assert np.array_equal(back.rows(2).actions, source.rows(2).actions)


def test_two_versions_must_be_told_apart(bridge: Path) -> None:
    tfrecords.write_dataset(bridge.with_name("2.0.0"), {"train": [[EPISODES[0]]]})
    with pytest.raises(UserError, match=r"several \(1\.0\.0, 2\.0\.0\)"):
        open_source(bridge.parent, "rlds")
