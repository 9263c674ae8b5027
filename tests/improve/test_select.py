import numpy as np
import pytest

from tests.improve.conftest import start
from worldeval.improve.place import Attempt
from worldeval.improve.recipe import TrustRecipe
from worldeval.improve.select import choose
from worldeval.record import Rollout, Verdict


def attempt(number: int, probability: float, *, votes=(), trust=None) -> Attempt:
    where = start("left", number)
    rollout = Rollout(
        start=where.id,
        task="left",
        policy="p",
        seed=0,
        actions=np.zeros((1, 8), np.float32),
        pose=np.zeros((2, 4), np.float32),
        trust=trust or {},
    )
    verdict = Verdict(probability=probability, step=1, judge="j", votes=votes)
    return Attempt(start=where, rollout=rollout, verdict=verdict)


def kept(chosen) -> list[tuple[str, float]]:
    return [(one.start.id, one.verdict.probability) for one in chosen.attempts]


def test_the_best_success_of_each_start_is_kept() -> None:
    tries = [attempt(0, 0.8), attempt(0, 0.9), attempt(0, 0.1), attempt(1, 0.75), attempt(2, 0.6)]
    chosen = choose(tries, TrustRecipe(probability=0.7), best=1)
    assert kept(chosen) == [("left-0", 0.9), ("left-1", 0.75)]
    assert (chosen.tried, chosen.trusted, chosen.successful) == (5, 5, 3)
    assert chosen.weight.tolist() == [1, 1]
    every = choose(tries, TrustRecipe(probability=0.7), best=0)
    assert len(every.attempts) == 3


def test_a_success_that_is_not_trusted_is_left_out() -> None:
    trust = TrustRecipe(probability=0.5, disagreement=0.3, signals={"mended_actions": 0.05})
    tries = [
        attempt(0, 0.9, votes=(0.6, 1.0)),
        attempt(1, 0.9, votes=(0.8, 1.0), trust={"mended_actions": 0.1}),
        attempt(2, 0.9, votes=(0.8, 1.0), trust={"mended_actions": 0.01}),
    ]
    chosen = choose(tries, trust, best=1)
    assert kept(chosen) == [("left-2", 0.9)]
    assert (chosen.trusted, chosen.successful) == (1, 1)


def test_weights_by_success_and_by_advantage() -> None:
    tries = [attempt(0, 0.8), attempt(0, 0.2), attempt(1, 0.3)]
    trust = TrustRecipe(probability=0.7)
    by_success = choose(tries, trust, best=0, weight="success")
    assert by_success.weight.tolist() == [0.8, 0.2, 0.3]
    by_advantage = choose(tries, trust, best=0, weight="advantage", temperature=0.3)
    # Means of the starts: 0.5 and 0.3; exp(0.3 / 0.3), exp(-0.3 / 0.3), exp(0).
    assert by_advantage.weight == pytest.approx([np.e, 1 / np.e, 1])


def test_a_far_better_try_cannot_weigh_without_bound() -> None:
    tries = [attempt(0, 1.0), attempt(0, 0.0)]
    chosen = choose(tries, TrustRecipe(), best=0, weight="advantage", temperature=0.01)
    assert chosen.weight.max() == 20
