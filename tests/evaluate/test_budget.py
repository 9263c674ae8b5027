"""Spending roll-outs: every plan stays within its budget, and stops when it may."""

from itertools import islice

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.evaluate.budget import Spending, found_leader, in_time, rounds_wanted, sequences

RATES = (0.9, 0.5, 0.45, 0.05)
ROUNDS, TASKS = 40, 2


def scores(rates: tuple[float, ...] = RATES):
    """Rates as scores that are known beforehand, so that a stage may ask for any of them."""
    drawn = np.random.default_rng(3).random((len(rates), ROUNDS, TASKS))
    made = (drawn < np.array(rates)[:, None, None]).astype(float)
    return lambda policy, rounds: made[policy, :rounds]


def stages(spending: Spending, rates: tuple[float, ...] = RATES, *, seed: int = 0):
    return list(
        rounds_wanted(
            spending,
            scores(rates),
            policies=len(rates),
            rounds=ROUNDS,
            tasks=TASKS,
            step=4,
            rng=np.random.default_rng(seed),
        )
    )


def test_even_asks_for_everything_at_once() -> None:
    assert stages(Spending()) == [[ROUNDS] * 4]
    assert stages(Spending(rollouts=90)) == [[11] * 4]


def test_a_leader_ends_an_even_run_early_and_equals_do_not() -> None:
    early = stages(Spending(stop_when_separated=True))
    assert early[-1][0] < ROUNDS and early[0] == [4] * 4
    assert found_leader(scores(), early[-1]) == 0
    tied = stages(Spending(stop_when_separated=True), (0.5, 0.5))
    assert tied[-1] == [ROUNDS] * 2


def test_halving_gives_the_better_half_more() -> None:
    wanted = stages(Spending(allocate="halving", rollouts=160))
    assert wanted == [[10, 10, 10, 10], wanted[-1]]
    assert wanted[-1][0] == 30 and sorted(wanted[-1]) == [10, 10, 30, 30]
    assert sum(wanted[-1]) <= 80


def test_top_two_prefers_the_best_within_its_budget() -> None:
    last = stages(Spending(allocate="top-two", rollouts=200))[-1]
    assert sum(last) == 100
    assert last[0] > last[3] == 4


def test_a_resumed_run_spends_as_one_without_a_break() -> None:
    spending = Spending(allocate="top-two", rollouts=120)
    assert stages(spending) == stages(spending)


def test_too_few_rollouts_are_refused_with_the_number_needed() -> None:
    with pytest.raises(UserError, match="at least 8 are needed"):
        stages(Spending(rollouts=7))


def test_a_policy_without_outcomes_may_be_anywhere() -> None:
    unknown, good = sequences([np.full((4, 2), np.nan), np.ones((40, 2))])
    assert (unknown.value, unknown.low, unknown.high, unknown.n) == (None, 0.0, 1.0, 0)
    assert good.low is not None and good.low > 0.8


def test_nothing_is_asked_for_after_the_deadline() -> None:
    assert list(in_time(0.0, iter("abc"))) == []
    assert list(in_time(None, iter("abc"))) == ["a", "b", "c"]
    assert list(islice(in_time(1e12, iter("abc")), 2)) == ["a", "b"]
