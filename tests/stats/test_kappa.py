"""Cohen's kappa: known answers, and an interval that covers."""

import numpy as np
import pytest

from worldeval.stats.kappa import cohens_kappa


def test_a_known_answer() -> None:
    # Of ten labels 9 are equal; 4 and 5 are yes: p_e = .4 * .5 + .6 * .5 = .5.
    first, second = np.array([*"yyyynnnnnn"]), np.array([*"yyyyynnnnn"])
    found = cohens_kappa(first, second)
    assert found.value == pytest.approx((0.9 - 0.5) / 0.5) and found.n == 10
    assert found.low is not None and found.high is not None
    assert found.low < 0.8 < found.high < 1


def test_few_equal_labels_are_not_certain() -> None:
    found = cohens_kappa(np.array([1, 0, 1, 0]), np.array([1, 0, 1, 0]))
    assert found.value == 1 and found.low is not None and found.low < 0.2


def test_one_and_the_same_label_says_nothing() -> None:
    assert cohens_kappa(np.array([1, 1, 1]), np.array([1, 1, 1])).value is None
    assert cohens_kappa(np.array([]), np.array([])).value is None
    with pytest.raises(ValueError, match="2 labels of one person, but 1"):
        cohens_kappa(np.array([1, 0]), np.array([1]))


def test_the_interval_covers() -> None:
    # Both see the truth (half yes), and err independently with probability .15: kappa = .49.
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        truth = rng.random(40) < 0.5
        one, other = (truth ^ (rng.random(40) < 0.15) for _ in range(2))
        found = cohens_kappa(one, other)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.49 <= found.high
    assert covered / 400 > 0.92
