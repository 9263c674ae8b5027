"""Checkpoints compared as they appear: few false alarms over the whole training, known answers."""

import numpy as np
import pytest

from worldeval.stats import betting
from worldeval.stats.arrivals import allowed_error, compare_arrival, pair_decided


def test_the_shares_of_all_pairs_add_up_to_the_error() -> None:
    """Checkpoint k may meet any of the k - 1 before it; what is left after n is 1/n of it."""
    total = sum((k - 1) * allowed_error(k) for k in range(2, 1001))
    assert total == pytest.approx(0.05 * (1 - 1 / 1000))
    assert allowed_error(2) == pytest.approx(0.025)
    with pytest.raises(ValueError, match="no earlier one"):
        allowed_error(1)


def test_a_clear_difference_is_named_with_its_direction() -> None:
    good, bad = np.full((20, 2), 0.9), np.full((20, 2), 0.1)
    found = compare_arrival(good, bad, number=5)
    assert found.verdict == "better" and found.p <= found.allowed
    assert found.difference.value == pytest.approx(0.8)
    assert found.difference.low is not None and found.difference.low > 0
    assert found.difference.n == 40
    assert compare_arrival(bad, good, number=5).verdict == "worse"
    assert pair_decided([bad, good[:12]], number=5, level=0.95)


def test_equal_policies_and_too_few_starts_are_tied() -> None:
    same = np.full((30, 1), 0.5)
    assert compare_arrival(same, same, number=2).verdict == "tied"
    assert compare_arrival(np.ones((2, 1)), np.zeros((2, 1)), number=2).verdict == "tied"
    none = compare_arrival(np.full((3, 1), np.nan), np.ones((3, 1)), number=2)
    assert (none.verdict, none.difference.value, none.p) == ("tied", None, 1.0)
    assert not pair_decided([np.ones((0, 1)), np.ones((0, 1))], number=2, level=0.95)


def test_a_missing_start_leaves_its_round_out() -> None:
    new, best = np.ones((9, 2)), np.zeros((9, 2))
    new[3, 1] = np.nan
    assert compare_arrival(new, best, number=2).difference.n == 16


def test_the_interval_leaves_zero_out_exactly_if_the_pair_is_separated(
    rng: np.random.Generator,
) -> None:
    for rate in (0.2, 0.35, 0.5, 0.65, 0.8):
        new, best = ((rng.random((60, 2)) < p).astype(float) for p in (rate, 0.5))
        found = compare_arrival(new, best, number=3)
        low, high = found.difference.low, found.difference.high
        assert low is not None and high is not None
        outside = low > 0 or high < 0 or 0 in (low, high)
        assert outside == (found.verdict != "tied")
        assert low <= rate - 0.5 <= high


def test_repeated_looks_at_many_equal_checkpoints_raise_few_false_alarms() -> None:
    """20 equal checkpoints on 40 shared starts, 200 trainings: each looked at after every start.

    Testing each at 5% by itself would raise an alarm in many of the trainings.
    """
    rng, trainings, checkpoints = np.random.default_rng(0), 200, 20
    scores = (rng.random((checkpoints, trainings, 40)) < 0.5).astype(float)
    every, best = np.arange(trainings), np.zeros(trainings, int)
    alarm, alone = np.zeros((2, trainings), bool)
    for k in range(1, checkpoints):
        found = betting.paired_test(scores[k] - scores[best, every])
        separated = found.p <= allowed_error(k + 1)
        alarm |= separated
        best = np.where(separated & (found.better > 0), k, best)
        alone |= betting.paired_test(scores[k] - scores[0]).p <= 0.05
    assert alarm.mean() <= 0.05
    assert alone.mean() > 0.1


def test_a_training_that_improves_is_followed() -> None:
    rng = np.random.default_rng(1)
    rates, best, told = (0.1, 0.4, 0.4, 0.9, 0.2), 0, []
    scores = [(rng.random((100, 1)) < rate).astype(float) for rate in rates]
    for k in range(1, 5):
        told.append(compare_arrival(scores[k], scores[best], number=k + 1).verdict)
        best = k if told[-1] == "better" else best
    assert told == ["better", "tied", "better", "worse"]
