"""Ranking: who is first, who shares a letter, and what may not be claimed."""

import json

import numpy as np
import pytest

from tests.stats.tables import bernoulli, outcomes
from worldeval.stats import compact_letters, holm, mcnemar, rank
from worldeval.stats.best import expected_regret, probability_best
from worldeval.stats.paired import differences_by_round


def test_clear_order(rng: np.random.Generator) -> None:
    found = rank(bernoulli((0.1, 0.9, 0.5), rng, tasks=2, starts=60), rng=rng)
    assert [row.policy for row in found.policies] == ["p1", "p2", "p0"]
    assert [row.letters for row in found.policies] == ["a", "b", "c"]
    assert found.headline is None
    assert found.policies[0].probability_best > 0.99
    json.dumps(found.to_json(), allow_nan=False)


def test_equal_policies_tie_and_are_refused(rng: np.random.Generator) -> None:
    found = rank(outcomes(lambda k, t, c: float(c % 2)), rng=rng)
    assert {row.rank for row in found.policies} == {1}
    assert {row.letters for row in found.policies} == {"a"}
    assert {c.p_mcnemar for c in found.comparisons} == {1.0}
    assert (found.headline or "").startswith("NOT A RANKING (cannot_be_told_apart)")


def test_unvalidated_ranking_is_a_hypothesis(rng: np.random.Generator) -> None:
    table = outcomes(lambda k, t, c: k / 6, kind="score")
    found = rank(table, rng=rng, validated=False)
    assert "hypothesis" in (found.headline or "")
    assert found.policies[0].estimate.method == "betting"


def test_tasks_weigh_the_same_whatever_their_starts() -> None:
    # p always succeeds on 'a' (30 starts), never on 'b' (10 starts): its rate is one half.
    import pandas as pd

    from worldeval.stats import from_frame

    rows = [("p", "a", c, 1) for c in range(30)] + [("p", "b", c, 0) for c in range(10)]
    frame = pd.DataFrame(rows, columns=["policy", "task", "start", "success"])
    found = rank(from_frame(frame), rng=np.random.default_rng(0))
    assert found.policies[0].estimate.value == pytest.approx(0.5)


def test_opposite_tasks_are_no_difference() -> None:
    """p0 wins every start of t0 and loses every one of t1: the mean difference is 0."""
    found = rank(
        outcomes(lambda k, t, c: float((k + t) % 2), policies=2, starts=100),
        rng=np.random.default_rng(0),
    )
    (pair,) = found.comparisons
    assert pair.difference.value == 0.0
    assert not pair.separated


def test_tenfold_copies_change_no_comparison(rng: np.random.Generator) -> None:
    wins = rng.random((3, 1, 30)) < np.array([0.3, 0.5, 0.7])[:, None, None]
    make = lambda seeds: outcomes(  # noqa: E731
        lambda k, t, c: float(wins[k, t, c]), policies=3, tasks=1, starts=30, seeds=seeds
    )
    once, copied = (
        rank(make(seeds), rng=np.random.default_rng(0)) for seeds in ((0,), tuple(range(10)))
    )
    assert [c.to_json() for c in copied.comparisons] == [c.to_json() for c in once.comparisons]
    for a, b in zip(once.policies, copied.policies, strict=True):
        assert (a.estimate.low, a.estimate.high) == (b.estimate.low, b.estimate.high)


def test_missing_starts_are_grouped_not_dropped() -> None:
    nan = np.nan
    found = differences_by_round(np.array([[[1.0, 0.0, 1.0, 0.0], [nan, 1.0, nan, -1.0]]]))
    np.testing.assert_allclose(found[0, :2], [[0.5, 1.0], [0.5, -1.0]])
    assert np.isnan(found[0, 2:]).all()


def test_holm_known_answer() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])


def test_letters_are_shared_exactly_by_pairs_not_separated(rng: np.random.Generator) -> None:
    for _ in range(20):
        separated = np.triu(rng.random((7, 7)) < 0.4, 1)
        separated = separated | separated.T
        letters = compact_letters(separated)
        for i in range(7):
            for j in range(i):
                assert bool(set(letters[i]) & set(letters[j])) != separated[i, j]


def test_letters_of_a_chain() -> None:
    separated = np.zeros((3, 3), dtype=bool)
    separated[0, 2] = separated[2, 0] = True
    assert compact_letters(separated) == ["a", "ab", "b"]


def test_mcnemar_known_answer() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 / 32)


def test_probability_best_and_regret() -> None:
    draws = np.array([[0.5, 0.5, 0.1], [0.2, 0.6, 0.6], [0.3, 0.1, 0.2]])
    np.testing.assert_allclose(probability_best(draws), [0.5, 1 / 3, 1 / 6])
    np.testing.assert_allclose(expected_regret(draws), np.array([0.4, 0.2, 0.5]) / 3)
