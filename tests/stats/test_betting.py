"""Betting tests and confidence sequences."""

import numpy as np
import pytest

from worldeval.stats import betting


def test_paired_test_by_hand() -> None:
    """One difference of 1: K+ is the mean of 1 + lambda over the grid .05 ... .95, that is 1.5."""
    found = betting.paired_test(np.array([[1.0]]))
    assert np.exp(found.log_wealth[0, 0]) == pytest.approx(1.5)
    assert found.p[0] == 1.0
    assert found.better[0] == 1.0


def test_it_finds_a_winner_and_its_direction() -> None:
    found = betting.paired_test(-np.ones((1, 10)))
    assert found.better[0] == -1.0
    assert found.rejected(0.05)[0]
    assert found.p[0] < 0.05


def test_equal_outcomes_are_no_evidence() -> None:
    found = betting.paired_test(np.zeros((1, 50)))
    assert found.p[0] == 1.0
    assert not found.rejected(0.05)[0]


def test_bounds_hold_the_mean_and_the_sequence_is_wider(rng: np.random.Generator) -> None:
    x = rng.beta(2, 3, (20, 100))
    low, high = betting.mean_bounds(x)
    first, last = betting.sequence(x)
    assert (low <= x.mean(axis=1)).all() and (x.mean(axis=1) <= high).all()
    assert (last[:, -1] - first[:, -1]).mean() > (high - low).mean()
    assert (np.diff(first) >= 0).all() and (np.diff(last) <= 0).all()
    end = betting.sequence_end(x)
    np.testing.assert_allclose(end[0], first[:, -1], atol=1 / betting.GRID)
    np.testing.assert_allclose(end[1], last[:, -1], atol=1 / betting.GRID)


def test_missing_values_are_skipped(rng: np.random.Generator) -> None:
    x = rng.random((1, 30))
    gaps = np.concatenate([x, np.full((1, 20), np.nan)], axis=1)
    np.testing.assert_allclose(betting.mean_bounds(gaps), betting.mean_bounds(x))


def test_mean_score_of_nothing() -> None:
    found = betting.mean_score(np.empty(0))
    assert (found.value, found.low, found.high) == (None, 0.0, 1.0)
