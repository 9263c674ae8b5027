"""Layouts of rotations: every one reads what it wrote, and differs from the others."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from worldeval.data.columns import ColumnGroup
from worldeval.policy.misread.distance import action_distance
from worldeval.policy.misread.misreading import Moved
from worldeval.policy.misread.rotations import (
    LAYOUTS,
    relaid,
    rotation_misreadings,
    rotations_of,
    width,
    written,
)

PAIRS = [(a, b) for a in LAYOUTS for b in LAYOUTS if width(a) == width(b) and a != b]


@pytest.fixture
def turned() -> Rotation:
    return Rotation.from_euler("xyz", [[0.5, -0.4, 0.9], [-1.0, 0.3, 0.2]])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_reads_what_it_wrote(layout: str, turned: Rotation) -> None:
    numbers = written(turned, layout, 0.5)
    assert numbers.shape == (2, width(layout))
    assert (rotations_of(numbers, layout, 0.5) * turned.inv()).magnitude().max() < 1e-6


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_rewriting_has_an_inverse_and_misreading_turns(
    one: str, other: str, turned: Rotation
) -> None:
    numbers = written(turned, one)
    there = relaid(numbers, read=other, write=one)  # misread, and written again
    np.testing.assert_allclose(relaid(there, read=one, write=other), written(
        rotations_of(numbers, other), other), atol=1e-6)  # fmt: skip
    wrong = (rotations_of(numbers, other) * turned.inv()).magnitude()
    assert wrong.max() > 0.05


def test_numbers_that_are_no_rotation_are_read_as_none() -> None:
    broken = np.array([[0.0, 0, 0, 0], [np.nan, 0, 0, 1]])
    assert rotations_of(broken, "quaternion").magnitude().max() == 0
    assert rotations_of(np.ones((1, 6)), "6d").magnitude().max() < 1e-9


def test_a_quaternion_may_have_w_first() -> None:
    group = ColumnGroup(names=("qx", "qy", "qz", "qw"), means="rotation", form="quaternion")
    found, _ = rotation_misreadings("action", (group,))
    (change,) = found
    nothing = Moved(now=np.zeros((1, 0)), asked=np.zeros((1, 0)))
    made = change.acted(np.array([[[0.8, 0.6, 0.0, 0.0]]]), nothing)
    np.testing.assert_allclose(made[0, 0], [0.6, 0, 0, 0.8])


def test_rotations_are_compared_as_rotations(turned: Rotation) -> None:
    group = ColumnGroup(names=("qx", "qy", "qz", "qw"), means="rotation", form="quaternion")
    numbers = written(turned, "quaternion")
    distance = action_distance((group,), numbers)
    assert distance(-numbers, numbers).max() < 1e-6  # both signs are the same rotation
    quarter = (Rotation.from_euler("z", 90, degrees=True) * turned).as_quat()
    np.testing.assert_allclose(distance.plain(quarter, numbers), np.pi / 2)
    assert distance.weight.tolist() == [3.0]


def test_no_rotation_is_said_so() -> None:
    assert rotation_misreadings("pose", (ColumnGroup(names=("a",)),))[1][0].code == "pose-rotation"
