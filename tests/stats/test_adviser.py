"""The next trial: known answers, and that advice beats trying policies in turn."""

import numpy as np
import pytest
from scipy.stats import norm

from worldeval.stats.adviser import (
    allocate,
    begin,
    knowledge_gradient,
    regret_confidence,
    simulate,
    uninformed,
)


def test_the_gradient_by_hand() -> None:
    """Two policies: .7 and .6, worth 18 trials, five ahead."""
    belief = begin(np.array([[0.7, 0.6]]), 18.0)
    sigma = np.sqrt(0.7 * 0.3 / 19 * 5 / 23)
    z = -0.1 / sigma
    expected = sigma * (z * norm.cdf(z) + norm.pdf(z))
    assert knowledge_gradient(belief, 5)[0, 0] == pytest.approx(expected, rel=1e-6)


def test_what_is_known_well_is_not_tried_again() -> None:
    """Equal means, one after 1,000 trials: the other has all to teach."""
    belief = begin(np.array([[0.6, 0.6, 0.1]]), 2.0)
    belief = belief.after(np.array([[600.0, 0, 0]]), np.array([[1000.0, 0, 0]]))
    gain = knowledge_gradient(belief)[0]
    assert gain[1] > 10 * gain[0]
    assert gain[1] > 10 * gain[2]


def test_a_plan_spreads_over_rivals_and_leaves_out_the_hopeless() -> None:
    plan = allocate(begin(np.array([[0.62, 0.6, 0.58, 0.05]]), 10.0), 40)
    assert len(plan) == 40
    assert set(plan) == {0, 1, 2}


def test_confidence_rises_with_trials() -> None:
    rng = np.random.default_rng(0)
    before = begin(np.array([[0.6, 0.5]]), 4.0)
    after = before.after(np.array([[90.0, 50.0]]), np.array([[100.0, 100.0]]))
    assert regret_confidence(before, regret=0.05, rng=rng) < 0.75
    assert regret_confidence(after, regret=0.05, rng=rng) > 0.99


def test_rates_of_zero_and_one_can_still_be_learned() -> None:
    belief = begin(np.array([[1.0, 0.0]]), 5.0)
    assert (belief.beta > 0).all()
    assert (belief.alpha > 0).all()


def test_advice_needs_fewer_trials_than_turns_and_than_no_imagination() -> None:
    """300 worlds of five policies whose imagined rates are worth 18 trials, taken as 6."""
    rng = np.random.default_rng(1)
    seen = rng.uniform(0.2, 0.9, (300, 5))
    true = rng.beta(seen * 18, (1 - seen) * 18)
    advised = simulate(true, begin(seen, 6.0), how="gradient", trials=300, rng=rng)
    turns = simulate(true, uninformed(300, 5), how="uniform", trials=300, block=1, rng=rng)
    top = simulate(true, uninformed(300, 5), how="top-two", trials=300, block=1, rng=rng)
    needed = [curve.needed(0.05, 0.9) or 301 for curve in (advised, top, turns)]
    assert needed[0] < 0.8 * needed[1]
    assert needed[0] < 0.6 * needed[2]


def test_where_imagination_misleads_trials_still_find_the_best() -> None:
    """Imagined in the opposite order: the prior is overcome."""
    rng = np.random.default_rng(2)
    true = np.tile([0.85, 0.6, 0.3], (200, 1))
    curve = simulate(true, begin(1 - true, 6.0), how="gradient", trials=200, rng=rng)
    assert curve.regret[0].min() > 0.5
    assert (curve.regret[-1] <= 0.05).mean() > 0.9
