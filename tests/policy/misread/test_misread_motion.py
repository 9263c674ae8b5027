"""Targets read as changes, and the other way."""

import numpy as np
import pytest

from worldeval.data.columns import ColumnGroup, ColumnMeanings
from worldeval.policy.misread.misreading import Misreading, Moved, both
from worldeval.policy.misread.motion import motion_misreadings
from worldeval.policy.misread.plausible import lag


def meaning(motion: str, *, unit: str = "m") -> ColumnMeanings:
    place = ColumnGroup(names=("x", "y", "z"), means="position", unit="m")
    turn = ColumnGroup(names=("rx", "ry", "rz"), means="rotation", form="axis-angle", unit="rad")
    return ColumnMeanings(
        action=(
            ColumnGroup(names=("x", "y", "z"), means="position", motion=motion, unit=unit),  # type: ignore[arg-type]
            ColumnGroup(names=("rx", "ry", "rz"), means="rotation", form="axis-angle", unit="rad",
                        motion=motion),  # type: ignore[arg-type]
        ),
        pose=(place, turn),
    )  # fmt: skip


def changes(motion: str, *, chunk: int = 1, unit: str = "m") -> dict[str, Misreading]:
    found, _ = motion_misreadings(meaning(motion, unit=unit), fps=10.0, chunk=chunk)
    return {each.code: each for each in found}


@pytest.fixture
def moved(rng: np.random.Generator) -> Moved:
    return Moved(now=rng.uniform(-0.5, 0.5, (4, 6)), asked=rng.uniform(-0.5, 0.5, (4, 6)))


def test_changes_become_targets_step_after_step() -> None:
    pose = np.array([[1.0, 0, 0, 0, 0, 0]])
    actions = np.zeros((1, 2, 6))
    actions[0, :, 0] = 0.1
    actions[0, :, 5] = 0.2
    moved = Moved(now=pose, asked=pose)
    made = changes("absolute")["actions-delta"].acted(actions, moved)
    np.testing.assert_allclose(made[0, :, 0], [1.1, 1.2])
    np.testing.assert_allclose(made[0, :, 5], [0.2, 0.4])


def test_one_reading_undoes_the_other(rng: np.random.Generator, moved: Moved) -> None:
    actions = rng.uniform(-0.5, 0.5, (4, 3, 6))
    targets = changes("absolute")["actions-delta"].acted(actions, moved)
    back = changes("delta")["actions-absolute"].acted(targets, moved)
    np.testing.assert_allclose(back, actions, atol=1e-9)


def test_units_are_those_of_each_side(moved: Moved) -> None:
    made = changes("absolute", unit="mm")["actions-delta"].acted(np.zeros((4, 1, 6)), moved)
    np.testing.assert_allclose(made[:, 0, :3], 1000 * moved.now[:, :3])


def test_a_chunk_may_be_relative_to_where_it_was_predicted(moved: Moved) -> None:
    assert "actions-relative" not in changes("absolute")
    made = changes("absolute", chunk=4)["actions-relative"].acted(np.zeros((4, 1, 6)), moved)
    np.testing.assert_allclose(made[:, 0, :3], moved.asked[:, :3])


def test_without_a_pose_to_move_nothing_is_tried() -> None:
    unknown = ColumnMeanings(action=meaning("absolute").action)
    found, missing = motion_misreadings(unknown, fps=10.0, chunk=1)
    assert found == []
    assert missing[0].code == "absolute-delta"


def test_two_changes_are_applied_in_order_and_lags_add() -> None:
    double = Misreading(code="a", family="a", text="a", act=lambda x, _: 2 * x, touches=(0,))
    plus = Misreading(code="b", family="b", text="b", act=lambda x, _: x + 1, touches=(1,))
    nothing = Moved(now=np.zeros((1, 0)), asked=np.zeros((1, 0)))
    whole = both(double, plus)
    assert whole.acted(np.ones((1, 1, 1)), nothing).item() == 3
    assert whole.touches == (0, 1)
    assert both(whole, lag(-1)).shift == -1
    assert both(whole, lag(-1)).touches is None
