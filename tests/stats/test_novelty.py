"""False alarms of novelty scores: known counts, and the promised rate by simulation."""

import numpy as np
import pytest

from worldeval.stats.novelty import conformal_p, held_out_needed, reachable_rate


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.5, 1)])
def test_a_rate_needs_as_many_held_out_cases_as_its_inverse_less_one(
    rate: float, needed: int
) -> None:
    assert held_out_needed(rate) == needed


def test_few_held_out_cases_reach_a_higher_rate_or_none() -> None:
    assert reachable_rate(99) == reachable_rate(5000) == 0.01
    assert reachable_rate(30) == pytest.approx(1 / 31)
    assert reachable_rate(19) == pytest.approx(0.05)
    assert reachable_rate(18) is None


def test_p_counts_the_held_out_cases_that_score_as_high() -> None:
    assert conformal_p([0.0, 2.0, 2.5, 9.0], [3.0, 1.0, 2.0]).tolist() == [1.0, 0.75, 0.5, 0.25]


def test_false_alarms_are_at_the_nominal_rate(rng: np.random.Generator) -> None:
    """Over many draws of 99 held-out cases; one draw alone may be above or below."""
    alarms = [
        (conformal_p(rng.normal(size=20), rng.normal(size=99)) <= 0.01).mean() for _ in range(3000)
    ]
    assert np.mean(alarms) == pytest.approx(0.01, abs=0.002)
