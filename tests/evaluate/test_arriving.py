"""A new checkpoint beside the best one: rounds of shared starts, and the verdict on them."""

import numpy as np
import pandas as pd
import pytest

from worldeval.evaluate.arriving import judge_arrival, scores_by_round, spending_for
from worldeval.record import Start

STARTS = [
    Start(id=f"{task}-{n}", task=task, seed=n, frames={}, pose=np.zeros(2, np.float32))
    for n in range(20)
    for task in "ab"
]
CARD = {"ref": "runs/new", "policy": "new", "lineage": "run", "step": 2}


def imagined(**scores: float) -> pd.DataFrame:
    """Episodes of policies that score the same from every start."""
    rows = [
        {"policy": policy, "task": start.task, "start": start.id, "score": score}
        for policy, score in scores.items()
        for start in STARTS
    ]
    return pd.DataFrame(rows)


def test_rounds_follow_the_starts_and_miss_what_is_missing() -> None:
    table = imagined(new=0.5).iloc[3:].copy()
    rounds = scores_by_round(table, STARTS, "new")
    assert rounds.shape == (20, 2)
    assert np.isnan(rounds[0]).all() and np.isnan(rounds[1, 0]) and rounds[1, 1] == 0.5
    np.testing.assert_array_equal(rounds[2:], 0.5)


@pytest.mark.parametrize(
    ("new", "verdict", "best"),
    [(0.95, "better", "new"), (0.05, "worse", "old"), (0.5, "tied", "old")],
)
def test_the_verdict_decides_which_is_the_best(new: float, verdict: str, best: str) -> None:
    found = judge_arrival(
        imagined(old=0.5, new=new), CARD, STARTS, best="old", number=2, level=0.95
    )
    assert (found.verdict, found.against, found.best) == (verdict, "old", best)
    assert found.success.value == pytest.approx(new)
    assert found.difference is not None and found.difference.value == pytest.approx(new - 0.5)
    assert (found.ref, found.lineage, found.step) == ("runs/new", "run", 2)


def test_the_first_is_compared_with_nothing() -> None:
    found = judge_arrival(imagined(new=0.4), CARD, STARTS, best=None, number=1, level=0.95)
    assert (found.verdict, found.against, found.difference) == ("first", None, None)
    assert found.best == "new"


def test_a_pair_that_is_separated_ends_the_work_and_a_first_one_has_no_pair() -> None:
    spending = spending_for(2, level=0.95, minutes=None, rollouts=None)
    assert spending.decided is not None and spending.looks and spending.by_turns
    assert spending.decided([np.zeros((12, 1)), np.ones((12, 1))])
    assert not spending.decided([np.zeros((2, 1)), np.ones((2, 1))])
    assert not spending_for(1, level=0.95, minutes=1.0, rollouts=None).looks
