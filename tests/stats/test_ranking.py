"""Ranking: who is first, who shares a letter, and what may not be claimed."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.stats.tables import bernoulli, outcomes
from worldeval.errors import UserError
from worldeval.stats import compact_letters, from_frame, holm, mcnemar, rank
from worldeval.stats.best import expected_regret, probability_best
from worldeval.stats.paired import compare_all, differences_by_round
from worldeval.stats.units import units


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


def few_and_fixed(rng: np.random.Generator) -> np.ndarray:
    """Eight alike policies from 40 shared starts of very different difficulty."""
    return (rng.random((8, 1, 40)) < rng.beta(0.5, 0.5, 40)).astype(float)


def test_mcnemar_with_holm_keeps_its_error_and_finds_more(rng: np.random.Generator) -> None:
    def some_pair(success: np.ndarray, test: str) -> bool:
        table = outcomes(
            lambda k, t, c: success[k, t, c], policies=len(success), tasks=1, starts=40
        )
        return any(c.separated for c in compare_all(units(table), test=test))

    wrong = np.mean([some_pair(few_and_fixed(rng), "mcnemar") for _ in range(60)])
    assert wrong <= 0.12  # .05 and three standard errors
    found = {"mcnemar": 0, "betting": 0}
    for _ in range(60):
        both = (rng.random((2, 1, 40)) < np.array([0.35, 0.7])[:, None, None]).astype(float)
        for test in found:
            found[test] += some_pair(both, test)
    assert found["mcnemar"] > found["betting"] + 5


def test_mcnemar_by_hand() -> None:
    """p0 alone succeeds on 10 starts and p1 alone on one: 2 (1 + 11) / 2^11, times one pair."""
    table = outcomes(
        lambda k, t, c: float(c < 10 if k == 0 else c == 10), policies=2, tasks=1, starts=30
    )
    (pair,) = rank(table, rng=np.random.default_rng(0), test="mcnemar").comparisons
    assert pair.p == pair.p_mcnemar == pytest.approx(2 * 12 / 2**11)
    assert pair.separated
    (same,) = rank(table, rng=np.random.default_rng(0)).comparisons
    assert same.p > pair.p
    assert same.p_mcnemar == pair.p_mcnemar


def test_mcnemar_reads_scores_as_verdicts() -> None:
    table = outcomes(
        lambda k, t, c: 0.9 if k == 0 else 0.4, policies=2, tasks=2, starts=10, kind="score"
    )
    (pair,) = rank(table, rng=np.random.default_rng(0), test="mcnemar").comparisons
    assert pair.difference.value == 1.0
    assert pair.p == pytest.approx(2 / 2**20)


def test_mcnemar_is_refused_where_it_is_not_exact() -> None:
    twice = outcomes(lambda k, t, c: float(k), policies=2, seeds=(0, 1))
    with pytest.raises(UserError, match="one trial of a policy from a start"):
        rank(twice, rng=np.random.default_rng(0), test="mcnemar")
    rows = [(p, t, c, 1) for p in "ab" for t, n in (("x", 5), ("y", 9)) for c in range(n)]
    uneven = from_frame(pd.DataFrame(rows, columns=["policy", "task", "start", "success"]))
    with pytest.raises(UserError, match="same number of starts on every task"):
        rank(uneven, rng=np.random.default_rng(0), test="mcnemar")


def test_the_leader_is_named_with_its_probability_where_it_is_tied(
    rng: np.random.Generator,
) -> None:
    found = rank(bernoulli((0.8, 0.75, 0.05), rng, tasks=2, starts=30), rng=rng)
    (said,) = [f for f in found.findings if f.code == "leader_not_separated"]
    assert f"P(best) of {found.policies[0].probability_best:.2f}" in said.text


def test_probability_best_and_regret() -> None:
    draws = np.array([[0.5, 0.5, 0.1], [0.2, 0.6, 0.6], [0.3, 0.1, 0.2]])
    np.testing.assert_allclose(probability_best(draws), [0.5, 1 / 3, 1 / 6])
    np.testing.assert_allclose(expected_regret(draws), np.array([0.4, 0.2, 0.5]) / 3)
