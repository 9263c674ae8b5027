"""The range of actions: shares of a step have theirs, metres have what was recorded."""

import numpy as np
import pytest

from worldeval.data.action_bounds import action_bounds


def test_shares_of_a_step_keep_their_range() -> None:
    assert action_bounds(np.array([[0.3, -1], [0.2, 1.0001]], np.float32), "") == {}


@pytest.mark.parametrize("space", ["", "ee-absolute(euler)+1"])
def test_metres_and_radians_go_a_little_beyond_what_was_recorded(space: str) -> None:
    actions = np.array([[0.3, -3, 0.5], [0.7, 3, 0.5]], np.float32)
    bounds = action_bounds(actions, space)
    assert bounds["action_low"] == pytest.approx((0.26, -3.6, 0.49), abs=1e-4)
    assert bounds["action_high"] == pytest.approx((0.74, 3.6, 0.51), abs=1e-4)


def test_small_changes_that_say_what_they_are_have_a_small_range() -> None:
    bounds = action_bounds(np.array([[-0.02], [0.03]], np.float32), "ee-delta(euler)+1")
    assert bounds == {"action_low": (-0.03,), "action_high": (0.04,)}


def test_parts_in_units_that_nobody_states_keep_the_range_of_normalised_actions() -> None:
    """Of two steps a frame: an arm in shares of its largest step, and a wheel in rad/s."""
    actions = np.array([[-0.5, 0.2, 3, 0.5, 1, 4], [1, 1, 5, 0, -1, 5]], np.float32)
    space = "arm: joint-delta(2,?)+0, wheel: joint-velocity(1)+0"
    bounds = action_bounds(actions, space)
    assert bounds["action_low"] == (-1, -1, 2.8, -1, -1, 3.9)
    assert bounds["action_high"] == (1, 1, 5.2, 1, 1, 5.1)
    assert action_bounds(actions[:, :2], "joint-delta(2,?)+0") == {}
    assert action_bounds(3 * actions[:, :2], "joint-delta(2,?)+0")["action_high"][0] > 3
