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
