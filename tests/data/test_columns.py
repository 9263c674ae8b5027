"""What columns mean, for robots of any shape."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from worldeval.data.columns import (
    ColumnGroup,
    Means,
    arms,
    columns_of,
    guess,
    names,
    sensed,
)
from worldeval.data.rotation import write_rotation
from worldeval.data.space_of import declared_space
from worldeval.data.space_text import read_space

TURNS = Rotation.from_euler("xyz", [[0.1, -0.4, 2.0], [1.0, 0.2, -3.0], [0, 0, 0.5]])


def group(means: Means, *columns: str, **said) -> ColumnGroup:
    return ColumnGroup(names=columns, means=means, **said)


BIMANUAL = (
    group("position", "lx", "ly", "lz", arm="left", unit="mm"),
    group("rotation", "lw", "li", "lj", "lk", arm="left", form="quaternion-wxyz"),
    group("gripper", "lg", arm="left", open=1.0, closed=-1.0),
    group("joint", "r0", "r1", arm="right", unit="deg/s", motion="velocity"),
    group("object", "cube"),
    group("base", "vx", "vy", "wz", unit="m/s", motion="velocity"),
)


def test_a_robot_with_two_arms_and_a_base() -> None:
    assert arms(BIMANUAL) == ("left", "right", "")
    assert columns_of(BIMANUAL, "position", "gripper").tolist() == [0, 1, 2, 7]
    assert columns_of(BIMANUAL, "joint", arm="right").tolist() == [8, 9]
    assert columns_of(BIMANUAL, "joint", arm="left").tolist() == []
    assert sensed(BIMANUAL).tolist() == [*range(10), 11, 12, 13]
    assert len(names(BIMANUAL)) == 14
    assert declared_space(BIMANUAL) == (
        "left: ee-absolute(quaternion-wxyz,mm)+1[1:-1], right: joint-velocity(2,deg/s)+0, "
        "other: numbers(1), base: velocity(3)"
    )


@pytest.mark.parametrize(
    ("one", "values", "si"),
    [
        (BIMANUAL[0], [[10, -20, 1000]], [[0.01, -0.02, 1]]),
        (BIMANUAL[2], [[1], [0], [-1]], [[0], [0.5], [1]]),
        (BIMANUAL[3], [[180, -90]], [[np.pi, -np.pi / 2]]),
        (group("planar", "x", "y", "yaw", unit="cm"), [[100, 50, 0.3]], [[1, 0.5, 0.3]]),
        (group("rotation", "a", "b", "c", form="euler", unit="deg"), [[180, 0, 90]],
         [[np.pi, 0, np.pi / 2]]),
        (group("planar", "u", "v", unit="px"), [[256, 12]], [[256, 12]]),  # no metres
        (group("gripper", "g"), [[7]], [[7]]),  # nobody says what is open
        (group("rotation", "w", "x", "y", "z", form="quaternion"), [[1, 0, 0, 0]], [[1, 0, 0, 0]]),
    ],
)  # fmt: skip
def test_numbers_in_si(one: ColumnGroup, values, si) -> None:
    assert np.allclose(one.in_si(np.array(values, float)), si)
    assert np.allclose(one.si().in_si(np.array(si, float)), si)  # and they stay so


@pytest.mark.parametrize(
    ("form", "unit", "stored"),
    [
        ("euler", "rad", write_rotation(TURNS, "euler")),
        ("euler", "deg", np.degrees(write_rotation(TURNS, "euler"))),
        ("axis-angle", "rad", TURNS.as_rotvec()),
        ("quaternion", "", TURNS.as_quat()),
        ("quaternion-wxyz", "", TURNS.as_quat()[:, [3, 0, 1, 2]]),
        ("6d", "", np.concatenate([TURNS.as_matrix()[:, :, 0], TURNS.as_matrix()[:, :, 1]], 1)),
        ("6d-rows", "", TURNS.as_matrix()[:, :2].reshape(3, 6)),
    ],
)
def test_rotations_in_every_stored_form(form, unit, stored) -> None:
    columns = [f"r{i}" for i in range(stored.shape[1])]
    found = group("rotation", *columns, form=form, unit=unit).rotation(stored)
    assert np.allclose((found * TURNS.inv()).magnitude(), 0, atol=1e-6)


PLACE = group("position", "x", "y", "z", unit="m")
EULER = group("rotation", "a", "b", "c", form="euler", unit="rad")
GRIP = group("gripper", "g")


def delta(one: ColumnGroup, **said) -> ColumnGroup:
    from dataclasses import replace

    return replace(one, motion="delta", **said)


@pytest.mark.parametrize(
    ("groups", "space"),
    [
        ((PLACE, EULER, GRIP), "ee-absolute(euler)+1"),
        ((delta(PLACE), delta(EULER), GRIP), "ee-delta(euler)+1"),
        ((group("joint", "a", "b", unit="rad"), GRIP), "joint-position(2)+1"),
        ((group("joint", "a", unit="rad/s", motion="velocity"),), "joint-velocity(1)+0"),
        ((delta(PLACE, unit="mm"), delta(EULER), GRIP), "ee-delta(euler,mm)+1"),
        ((delta(PLACE, unit=""), delta(EULER, unit=""), GRIP), "ee-delta(euler,?,?)+1"),
        ((delta(PLACE, frame="tool"), delta(EULER, frame="tool"), GRIP), "tool-delta(euler)+1"),
        ((PLACE, delta(EULER), GRIP),  # two kinds of motion
         "arm: ee-absolute(xyz)+0, other: numbers(3), gripper: gripper(1)"),
        ((GRIP, PLACE, EULER), "gripper: gripper(1), arm: ee-absolute(euler)+0"),
        ((PLACE, EULER, group("other", "mode")), "arm: ee-absolute(euler)+0, other: numbers(1)"),
        ((group("planar", "u", "v", unit="px"),), "planar-position(2,px)"),
        ((group("joint", "a", arm="l (1)", unit="rad"), group("joint", "b", arm="r", unit="rad"),
          group("gripper", "c", arm="r")), "l 1: joint-position(1)+0, r: joint-position(1)+1"),
        ((group("joint", "a", unit="rad"), group("joint", "b", unit="m"), GRIP),
         "arm: joint-position(1)+0, arm 2: joint-position(1,m)+1"),
        ((group("other", "a", "b"), GRIP), ""),  # nothing is known of what moves
        (guess(("x", "y", "z", "roll", "pitch", "yaw", "gripper")), ""),  # only guessed
    ],
)  # fmt: skip
def test_the_action_space_follows_from_the_columns(groups, space: str) -> None:
    assert declared_space(groups) == space
    assert not space or read_space(space).size == len(names(groups))


@pytest.mark.parametrize(
    ("found", "means"),
    [
        (("x", "y", "z", "qx", "qy", "qz", "qw", "gripper"), ["position", "rotation", "gripper"]),
        (("left_waist", "left_gripper", "right_waist"), ["joint", "gripper", "joint"]),
        (("action_0", "action_1"), ["other"]),
        (("joint_0", "joint_1", "finger_l"), ["joint", "gripper"]),
    ],
)
def test_guesses_by_name_are_guesses(found, means) -> None:
    groups = guess(found)
    assert [one.means for one in groups] == means and names(groups) == found
    assert all(one.guessed and one.unit == "" for one in groups)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"means": "rotation", "names": ("a", "b", "c", "d"), "form": "euler"}, "euler has 3"),
        (
            {"means": "position", "names": ("a", "b", "c"), "unit": "rad"},
            "cannot have the unit rad",
        ),
        ({"means": "joint", "names": ("a",), "form": "euler"}, "only a rotation has a form"),
        ({"means": "gripper", "names": ("a",), "open": 1.0}, "must differ"),
        ({"means": "joint", "names": ("a",), "open": 1.0, "closed": 0.0}, "only a gripper"),
        ({"means": "base", "names": ("a",)}, "x and y"),
        ({"names": ()}, "needs at least one name"),
    ],
)
def test_what_cannot_be(said, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ColumnGroup(**said)
