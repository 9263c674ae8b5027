"""Known answers: scipy.stats.binomtest, as quoted in Brown, Cai and DasGupta (2001)."""

import numpy as np
import pytest
from scipy import stats

from worldeval.stats import clopper_pearson, clustered_rate, jeffreys, rate, wilson
from worldeval.stats.rates import rate_over_tasks


def test_known_answers() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    assert clopper_pearson(8, 10) == pytest.approx((0.4439, 0.9748), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert jeffreys(8, 10) == pytest.approx(tuple(stats.beta(8.5, 2.5).ppf([0.025, 0.975])))


@pytest.mark.parametrize("k", [0, 3, 7, 10])
def test_wilson_is_scipys(k: int) -> None:
    theirs = stats.binomtest(k, 10).proportion_ci(0.9, "wilson")
    assert wilson(k, 10, level=0.9) == pytest.approx((theirs.low, theirs.high))


def test_a_rate_of_no_trials_is_undefined_and_may_be_anything() -> None:
    found = rate(0, 0)
    assert (found.value, found.low, found.high) == (None, 0.0, 1.0)
    with pytest.raises(ValueError, match="got 11"):
        rate(11, 10)


def test_single_trials_per_start_are_wilson() -> None:
    found = clustered_rate(np.array([1.0] * 8 + [0.0] * 2))
    assert (found.low, found.high) == pytest.approx(wilson(8, 10))


def test_tenfold_copies_of_a_start_narrow_nothing() -> None:
    means = np.array([1.0] * 8 + [0.0] * 2)
    once, copied = clustered_rate(means), clustered_rate(means, trials=100)
    assert (copied.low, copied.high) == (once.low, once.high)
    assert (copied.n, copied.clusters) == (100, 10)


def test_repetitions_help_where_starts_do_not_matter(rng: np.random.Generator) -> None:
    found = clustered_rate(rng.binomial(5, 0.5, 40) / 5, trials=200)
    few, many = wilson(20, 40), wilson(100, 200)
    assert many[1] - many[0] < (found.width or 0) < 0.7 * (few[1] - few[0])


def uneven_starts(
    starts: tuple[int, ...], rates: tuple[float, ...], rng: np.random.Generator
) -> np.ndarray:
    """A row of outcomes for each task, NaN where it has fewer starts than the others."""
    drawn = (rng.random((len(starts), max(starts))) < np.array(rates)[:, None]).astype(float)
    return np.where(np.arange(max(starts)) < np.array(starts)[:, None], drawn, np.nan)


@pytest.mark.parametrize(
    ("starts", "rates"),
    [((10, 100), (0.5, 0.02)), ((4, 60, 60), (0.6, 0.99, 0.99)), ((6, 80, 80, 80), (0.5, 0, 0, 0))],
)
def test_unequal_starts_a_task_cover(
    starts: tuple[int, ...], rates: tuple[float, ...], rng: np.random.Generator
) -> None:
    """The uncertain task has few starts: one effective number of trials for all is too many."""
    true, covers, alone = np.mean(rates), 0, 0
    for _ in range(400):
        means = uneven_starts(starts, rates, rng)
        found = rate_over_tasks(means, trials=(~np.isnan(means)).astype(int))
        present = ~np.isnan(means)
        weight = present / present.sum(axis=1, keepdims=True) / len(means)
        one = clustered_rate(means[present], weights=weight[present])
        covers += (found.low or 0) <= true <= (found.high or 0)
        alone += (one.low or 0) <= true <= (one.high or 0)
    assert covers / 400 >= 0.93
    assert alone / 400 < 0.92


def test_equal_starts_a_task_are_as_before() -> None:
    means = np.array([[1.0] * 8 + [0.0] * 2, [1.0] * 3 + [0.0] * 7])
    found = rate_over_tasks(means, trials=np.ones((2, 10), dtype=int))
    assert (found.low, found.high) == pytest.approx(wilson(11, 20))
