"""Changes of numbers: units, angles, grippers and normalisation, with known answers."""

import numpy as np
import pytest

from worldeval.data.columns import ColumnGroup
from worldeval.policy.misread.misreading import Misreading, Moved
from worldeval.policy.misread.numbers import (
    affine,
    number_misreadings,
    number_range,
    unaffine,
)

PLACE = ColumnGroup(names=("x", "y", "z"), means="position", unit="m")
TURN = ColumnGroup(names=("roll", "pitch", "yaw"), means="rotation", form="euler", unit="rad")
HAND = ColumnGroup(names=("gripper",), means="gripper", open=0.0, closed=1.0)
GROUPS = (PLACE, TURN, HAND)
NOWHERE = Moved(now=np.zeros((1, 0)), asked=np.zeros((1, 0)))


def recorded(rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([rng.normal(0.3, 0.1, (50, 6)), rng.integers(0, 2, (50, 1))], 1)


def found(rng: np.random.Generator, groups=GROUPS) -> dict[str, Misreading]:
    made, _ = number_misreadings("action", groups, number_range(recorded(rng)))
    return {each.code: each for each in made}


def acted(change: Misreading, *numbers: float) -> list[float]:
    return change.acted(np.array([[numbers]], np.float64), NOWHERE)[0, 0].round(6).tolist()


def test_an_affine_change_has_an_inverse(rng: np.random.Generator) -> None:
    columns, values = np.array([0, 2]), rng.normal(size=(5, 4))
    there = affine(columns, np.array([2.0, 3.0]), np.array([1.0, -1.0]))
    back = unaffine(columns, np.array([2.0, 3.0]), np.array([1.0, -1.0]))
    np.testing.assert_allclose(back(there(values)), values)
    assert there(values)[0, 1] == values[0, 1]


@pytest.mark.parametrize(
    ("code", "given", "expected"),
    [
        ("action-positions-x0.001", (100, 0, 0, 1, 1, 1, 0.5), [0.1, 0, 0, 1, 1, 1, 0.5]),
        ("action-rotations-radians", (0, 0, 0, 180, 0, 0, 0), [0, 0, 0, 3.141593, 0, 0, 0]),
        ("action-gripper-swapped", (0, 0, 0, 0, 0, 0, 0.2), [0, 0, 0, 0, 0, 0, 0.8]),
        ("action-gripper--1-1", (0, 0, 0, 0, 0, 0, -1), [0] * 7),
        ("action-gripper--1-1-swapped", (0, 0, 0, 0, 0, 0, -1), [0] * 6 + [1]),
    ],
)
def test_actions_are_changed_in_the_columns_concerned(
    code: str, given: tuple[float, ...], expected: list[float], rng: np.random.Generator
) -> None:
    assert acted(found(rng)[code], *given) == expected


def test_a_gripper_that_the_data_have_from_0_to_1_is_not_tried_as_such(
    rng: np.random.Generator,
) -> None:
    assert "action-gripper-0-1" not in found(rng)


def test_normalised_actions_are_scaled_back_by_the_data(rng: np.random.Generator) -> None:
    known = number_range(recorded(rng))
    raw = found(np.random.default_rng(0))["action-mean-std-raw"]
    np.testing.assert_allclose(acted(raw, *[0.0] * 7), known.mean, atol=1e-5)
    np.testing.assert_allclose(acted(raw, *[1.0] * 7), known.mean + known.std, atol=1e-5)


def test_unknown_units_are_named(rng: np.random.Generator) -> None:
    bare = (ColumnGroup(names=("x", "y", "z"), means="position"),
            ColumnGroup(names=("a", "b", "c", "d")))  # fmt: skip
    made, missing = number_misreadings("pose", bare, number_range(recorded(rng)))
    reasons = {each.code: each.reason for each in missing}
    assert reasons["pose-units"] == "the unit of x, y, z is not known; say it in a map"
    assert "pose-degrees" in reasons
    assert reasons["pose-gripper"] == "no column is said to be a gripper"
    assert {each.family for each in made} == {"pose-normalised"}


def test_only_columns_that_are_touched_are_named_so(rng: np.random.Generator) -> None:
    changes = found(rng)
    assert changes["action-positions-x1000"].touches == (0,)
    assert changes["action-rotations-degrees"].touches == (1,)
    assert changes["action-gripper-swapped"].touches == (2,)
