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


def uneven(rates: tuple[float, float], rng: np.random.Generator, *, lacks: float) -> np.ndarray:
    """200 rounds of an outcome on either task; the second is missing in a share of them."""
    x = (rng.random((300, 200, 2)) < np.array(rates)).astype(float)
    x[rng.random((300, 200)) < lacks, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("rates", "lacks"), [((0.9, 0.1), 0.3), ((0.2, 0.8), 0.5), ((0.8, 0.3), 0.7)]
)
def test_a_sequence_with_missing_cells_covers(
    rates: tuple[float, float], lacks: float, rng: np.random.Generator
) -> None:
    """Rounds that lack a task have the mean of the others: they are left out."""
    x, true = uneven(rates, rng, lacks=lacks), np.mean(rates)
    low, high = betting.sequence_end(x)
    assert ((low <= true) & (true <= high)).mean() >= 0.93
    # Taking what is there of such rounds, as one column of outcomes, aims at another mean.
    pooled = np.where(np.isnan(x[..., 1]), x[..., 0], np.nanmean(x, axis=2))
    low, high = betting.sequence_end(pooled)
    assert ((low <= true) & (true <= high)).mean() < 0.85


def test_tasks_that_differ_in_opposite_ways_are_no_difference_with_missing_cells(
    rng: np.random.Generator,
) -> None:
    apart = 2 * uneven((0.8, 0.2), rng, lacks=0.5) - 1
    assert betting.paired_test(apart).rejected(0.05).mean() <= 0.05
    alone = np.where(np.isnan(apart[..., 1]), apart[..., 0], np.nanmean(apart, axis=2))
    assert betting.paired_test(alone).rejected(0.05).mean() > 0.2


def test_the_wealth_of_counts_is_that_of_the_outcomes() -> None:
    outcomes = np.array([[1.0, -1.0, 1.0, 0.0, 1.0]])
    found = betting.log_wealth(np.array([3]), np.array([1]))
    assert found[0] == pytest.approx(betting.paired_test(outcomes).log_wealth[0, -1])
