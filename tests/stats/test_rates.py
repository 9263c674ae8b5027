"""Known answers: scipy.stats.binomtest, as quoted in Brown, Cai and DasGupta (2001)."""

import numpy as np
import pytest
from scipy import stats

from worldeval.stats import clopper_pearson, clustered_rate, jeffreys, rate, wilson


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
    with pytest.raises(ValueError, match="11 successes in 10"):
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
