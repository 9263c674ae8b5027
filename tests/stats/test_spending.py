"""Buying trials and spending rollouts."""

import numpy as np
import pytest
from scipy import stats

from worldeval.errors import UserError
from worldeval.stats import mcnemar, paired_test, plan, sequential_halving, until_leader
from worldeval.stats.plan import (
    imagined_per_real,
    mcnemar_power,
    pairs_for_mcnemar,
    pairs_to_separate,
)
from worldeval.stats.spending import halving_rounds, top_two


def power_of_betting(n: int, *, rate: float, gap: float, alpha: float) -> float:
    """Share of 400 experiments in which the test that `rank` applies finds the gap."""
    better, worse = np.random.default_rng(1).random((2, 400, n))
    found = paired_test((better < rate + gap).astype(float) - (worse < rate))
    return float(found.rejected(alpha).mean())


def z_test_trials(rate: float, gap: float, *, alpha: float) -> int:
    """The usual formula: (z_alpha + z_power)^2 (p q + p' q') / gap^2."""
    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(0.8)
    return int(z**2 * (rate * (1 - rate) + (rate + gap) * (1 - rate - gap)) / gap**2) + 1


@pytest.mark.parametrize(
    ("policies", "rate", "gap"), [(8, 0.5, 0.2), (8, 0.8, 0.15), (2, 0.5, 0.2), (5, 0.3, 0.3)]
)
def test_a_plan_delivers_the_power_that_it_promises(policies: int, rate: float, gap: float) -> None:
    found = plan(policies=policies, gap=gap, rate=rate)
    alpha = 0.05 / found.comparisons
    assert power_of_betting(found.real_alone, rate=rate, gap=gap, alpha=alpha) == pytest.approx(
        0.8, abs=0.06
    )
    # Planning a z-test promises the same and delivers half of the time.
    usual = z_test_trials(rate, gap, alpha=alpha)
    assert power_of_betting(usual, rate=rate, gap=gap, alpha=alpha) < 0.62
    assert "power of 80% holds for each pair" in found.advice


@pytest.mark.parametrize(("rate", "gap"), [(0.5, 0.1), (0.5, 0.2), (0.8, 0.15)])
def test_a_plan_for_mcnemar_delivers_its_power_with_fewer_starts(rate: float, gap: float) -> None:
    exact = plan(policies=8, gap=gap, rate=rate, test="mcnemar").real_alone
    assert exact < 0.8 * plan(policies=8, gap=gap, rate=rate).real_alone
    better, worse = np.random.default_rng(1).random((2, 2000, exact))
    apart = (better < rate + gap).astype(int) - (worse < rate)
    p = np.array([mcnemar(int((row == 1).sum()), int((row == -1).sum())) for row in apart])
    assert (p <= 0.05 / 28).mean() == pytest.approx(0.8, abs=0.04)


def test_exact_power_of_mcnemar_by_hand() -> None:
    # Six starts that all differ in one direction: p = 2 / 64 <= .05; five do not do.
    assert mcnemar_power(0.5, 0.0, 6, alpha=0.05) == pytest.approx(0.5**6)
    assert mcnemar_power(0.5, 0.0, 5, alpha=0.05) == 0.0
    assert pairs_for_mcnemar(1.0, 0.0) == 6


def test_a_gap_that_the_betting_test_cannot_find_is_refused() -> None:
    assert pairs_to_separate(0.01, 0.7) is None
    with pytest.raises(UserError, match=r"gap of 0\.01 is too small for the betting test"):
        plan(policies=2, gap=0.01)
    assert plan(policies=2, gap=0.01, test="mcnemar").real > 10_000
    with pytest.raises(UserError, match="Unknown --test mcnemer"):
        plan(policies=2, gap=0.1, test="mcnemer")


def test_pairs_for_the_betting_test_are_about_what_it_needs() -> None:
    n = pairs_to_separate(0.2, 0.46**0.5, power=0.8)  # .5 vs .7, independent
    assert n is not None
    assert power_of_betting(n, rate=0.5, gap=0.2, alpha=0.05) == pytest.approx(0.8, abs=0.06)


def test_plan_with_and_without_imagination() -> None:
    alone = plan(policies=8, gap=0.1)
    assert alone.real_one_pair < alone.real == alone.real_alone
    assert alone.imagined == 0
    both = plan(policies=8, gap=0.1, rho=0.7, cost_ratio=100)
    assert both.real < alone.real < both.imagined
    assert both.cost < both.cost_alone
    useless = plan(policies=8, gap=0.1, rho=0.05, cost_ratio=2)
    assert (useless.real, useless.imagined) == (alone.real, 0)
    assert "saves nothing" in useless.advice


def test_the_best_ratio() -> None:
    assert imagined_per_real(0.7, 100) == pytest.approx(0.7 * 10 / 0.51**0.5)
    assert imagined_per_real(0.1, 1) == 1.0


@pytest.mark.parametrize("wrong", [{"policies": 1}, {"gap": 0.0}, {"power": 1.0}, {"rho": 1.0}])
def test_plan_names_what_is_wrong(wrong: dict) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(wrong))} is"):
        plan(**({"policies": 8, "gap": 0.1} | wrong))


def test_halving_by_hand() -> None:
    assert halving_rounds(8, 240) == [(8, 10), (4, 20), (2, 40)]
    with pytest.raises(UserError, match="at least 24"):
        halving_rounds(8, 10)


def test_halving_keeps_the_best_within_budget(rng: np.random.Generator) -> None:
    rates = np.array([0.1, 0.2, 0.3, 0.9])
    found = sequential_halving(
        lambda k, n: (rng.random(n) < rates[k]).astype(float), policies=4, budget=200
    )
    assert found.survivors == (3,)
    assert sum(map(len, found.outcomes)) <= 200
    assert {e.method for e in found.estimates} == {"confidence sequence"}


def test_it_stops_at_a_leader_and_not_at_a_tie(rng: np.random.Generator) -> None:
    def attempt(rates):
        return lambda k, n: (rng.random(n) < rates[k]).astype(float)

    clear = until_leader(attempt((0.1, 0.95)), policies=2, budget=1000, rng=rng)
    assert clear.stopped and clear.leader == 1
    assert sum(map(len, clear.outcomes)) < 300
    tied = until_leader(attempt((0.5, 0.5)), policies=2, budget=100, rng=rng)
    assert not tied.stopped and tied.leader is None
    narrow = until_leader(attempt((0.5, 0.5)), policies=2, budget=2000, rng=rng, width=0.5)
    assert narrow.stopped
    assert all((e.width or 1) <= 0.5 for e in narrow.estimates)


def test_top_two_tries_the_two_contenders(rng: np.random.Generator) -> None:
    won, lost = np.array([90.0, 80.0, 1.0]), np.array([10.0, 20.0, 99.0])
    counts = np.bincount([top_two(won, lost, rng=rng) for _ in range(200)], minlength=3)
    assert counts[2] == 0 and counts[0] > 50 and counts[1] > 50
