"""A dataset seen otherwise: smaller pictures, and rotations that never jump."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from worldeval.data.adapt import AdaptedSource
from worldeval.data.check.check import check
from worldeval.data.columns import ColumnGroup, ColumnMeanings
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.source import Head, Rows, Source, SourceSpec, open_source
from worldeval.errors import UserError

NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


class Wrapping(Source):
    """An arm whose roll goes over pi in the middle of every episode."""

    def __init__(self) -> None:
        self.spec = SourceSpec(
            format="memory",
            path=Path("memory"),
            fps=5.0,
            views={"top": (8, 12)},
            action_names=("dx",),
            pose_names=NAMES,
        )
        self.findings = []
        self.heads = [Head(id=str(i), length=20, task="t", success=True) for i in range(2)]

    def rows(self, index: int) -> Rows:
        pose = np.zeros((20, 7))
        pose[:, 3] = np.angle(np.exp(1j * np.linspace(3.0, 3.3, 20)))
        pose[:, 5], pose[:, 6] = 0.2, np.linspace(0, 1, 20)
        return Rows(actions=np.ones((20, 1), np.float32), pose=pose.astype(np.float32))

    def frames(self, index: int, view: str, rows=None):
        rows = np.arange(20) if rows is None else rows
        frames = np.zeros((len(rows), 8, 12, 3), np.uint8)
        frames[:, :, 6:] = 200
        return frames


def test_pictures_of_another_size() -> None:
    source = AdaptedSource(Wrapping(), size=(4, 4))
    assert source.spec.views == {"top": (4, 4)}
    frames = source.frames(0, "top", np.array([3, 1]))
    assert frames.shape == (2, 4, 4, 3)
    assert frames[0, :, :, 0].mean(axis=0) == pytest.approx([0, 11, 189, 200], abs=12)
    assert source.frames(0, "top", np.array([], int)).shape == (0, 4, 4, 3)


def test_a_roll_over_pi_in_six_numbers_does_not_jump() -> None:
    plain, source = Wrapping(), AdaptedSource(Wrapping(), rotation="6d")
    assert np.abs(np.diff(plain.rows(0).pose, axis=0)).max() > 6
    pose = source.rows(0).pose
    assert source.spec.pose_names == ("x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32", "gripper")  # fmt: skip  # noqa: E501
    assert np.abs(np.diff(pose, axis=0)).max() < 0.1
    assert np.array_equal(pose[:, 9], plain.rows(0).pose[:, 6])
    matrix = Rotation.from_euler("xyz", plain.rows(0).pose[7, 3:6]).as_matrix()
    assert pose[7, 3:9] == pytest.approx(matrix[:, :2].T.reshape(-1), abs=1e-6)
    assert source.spec.action_names == ("dx",)
    assert np.array_equal(source.rows(0).actions, plain.rows(0).actions)


def test_the_validator_has_nothing_to_say_of_it_any_more() -> None:
    def wraps(source: Source) -> int:
        return sum(f.count for f in check(source, pictures=False) if f.code == "angle-wraps")

    assert wraps(Wrapping()) == 2
    assert wraps(AdaptedSource(Wrapping(), rotation="6d")) == 0


def test_without_angles_there_is_nothing_to_turn(tmp_path: Path, made) -> None:
    layout = Layout(
        fps=10.0,
        views={"top": (48, 64)},
        action_names=("dx", "dy", "dz", "grip"),
        pose_names=("x", "y", "z"),
    )
    with LeRobotWriter(tmp_path / "set", layout) as writer:
        writer.add(made(0))
    with pytest.raises(UserError, match=r"no columns roll, pitch, yaw to change \(action: dx, dy"):
        AdaptedSource(open_source(tmp_path / "set"), rotation="6d")


def test_angles_in_degrees_are_turned_as_such() -> None:
    plain, degrees = Wrapping(), Wrapping()
    degrees.spec = replace(
        degrees.spec,
        meaning=ColumnMeanings(
            pose=(
                ColumnGroup(names=NAMES[:3], means="position", unit="m"),
                ColumnGroup(names=NAMES[3:6], means="rotation", form="euler", unit="deg"),
                ColumnGroup(names=NAMES[6:], means="gripper"),
            )
        ),
    )
    degrees.rows = lambda index: replace(  # type: ignore[method-assign]
        plain.rows(index),
        pose=plain.rows(index).pose * np.array([1, 1, 1, *[180 / np.pi] * 3, 1], np.float32),
    )
    found = AdaptedSource(degrees, rotation="6d")
    np.testing.assert_allclose(
        found.rows(0).pose, AdaptedSource(plain, rotation="6d").rows(0).pose, atol=1e-5
    )
    assert found.spec.meaning.pose[1].unit == ""
