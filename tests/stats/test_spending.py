"""Buying trials and spending rollouts."""

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.stats import paired_test, plan, sequential_halving, until_leader
from worldeval.stats.plan import imagined_per_real, pairs_to_separate, trials_to_separate
from worldeval.stats.spending import halving_rounds, top_two


def test_known_sample_sizes() -> None:
    # Fleiss, Levin and Paik (2003), unpooled normal formula: 384.6 and, over 28 pairs, 770.5.
    assert trials_to_separate(0.5, 0.6) == 385
    assert trials_to_separate(0.5, 0.6, comparisons=28) == 771


def test_pairs_for_the_betting_test_are_what_it_needs(rng: np.random.Generator) -> None:
    n = pairs_to_separate(0.2, 0.46**0.5, power=0.8)  # .5 vs .7, independent
    a, b = rng.random((2, 1000, n))
    power = paired_test((a < 0.7).astype(float) - (b < 0.5)).rejected(0.05).mean()
    assert power == pytest.approx(0.8, abs=0.06)


def test_plan_with_and_without_imagination() -> None:
    alone = plan(policies=8, gap=0.1)
    assert (alone.real_one_pair, alone.real, alone.imagined) == (385, 771, 0)
    both = plan(policies=8, gap=0.1, rho=0.7, cost_ratio=100)
    assert both.real < alone.real < both.imagined
    assert both.cost < both.cost_alone
    useless = plan(policies=8, gap=0.1, rho=0.05, cost_ratio=2)
    assert (useless.real, useless.imagined) == (771, 0)
    assert "does not pay" in useless.advice


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
