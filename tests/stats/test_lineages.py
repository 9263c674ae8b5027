"""Intervals over training runs cover other training runs; those over policies or starts do not."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.stats.tables import bernoulli
from worldeval.errors import UserError
from worldeval.stats import agreement, baseline_difference, measures
from worldeval.stats.lineages import (
    WEIGHTED,
    lineage_of,
    resampled,
    spearman_over_lineages,
)
from worldeval.stats.measures import fisher_z

OWN, EACH = 0.8, 3  # correlation of a lineage's checkpoints, and how many it has


def runs(lineages: int, error: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true rates (up to a monotone map) of the checkpoints of some training runs."""

    def common() -> np.ndarray:
        one, own = rng.normal(size=(lineages, 1)), rng.normal(size=(lineages, EACH))
        return (OWN * one + np.sqrt(1 - OWN**2) * own).ravel()

    real = common()
    return real + error * common(), real


def population(measure: Callable, error: float) -> float:
    return float(measure(*runs(20_000, error, np.random.default_rng(9))))


@pytest.mark.parametrize("lineages", [7, 11])
def test_fishers_interval_counts_lineages(lineages: int, rng: np.random.Generator) -> None:
    """Counting 21 policies as independent covers .84; counting their 7 lineages covers."""
    true, covers, naive = population(measures.pearson, 0.7), 0, 0
    for _ in range(300):
        r = float(measures.pearson(*runs(lineages, 0.7, rng)))
        for count, k in (("lineages", lineages), ("policies", EACH * lineages)):
            low, high = fisher_z(r, k, level=0.95) or (0.0, 0.0)
            covers += count == "lineages" and low <= true <= high
            naive += count == "policies" and low <= true <= high
    assert covers / 300 >= 0.95
    assert naive / 300 < 0.90


@pytest.mark.parametrize("lineages", [5, 8, 12])
def test_spearmans_interval_covers_other_lineages(lineages: int, rng: np.random.Generator) -> None:
    true, covers = population(measures.spearman, 0.7), 0
    group = np.repeat(np.arange(lineages), EACH)
    for _ in range(150):
        s, r = runs(lineages, 0.7, rng)
        value = float(measures.spearman(s, r))
        found = spearman_over_lineages(s, r, group, value=value, rng=rng, draws=300)
        covers += (found.low or 0) <= true <= (found.high or 0)
    assert covers / 150 >= 0.90


def test_few_lineages_say_so() -> None:
    rng = np.random.default_rng(0)
    methods = {}
    for lineages in (2, 5, 9):
        s, r = runs(lineages, 0.5, rng)
        group = np.repeat(np.arange(lineages), EACH)
        found = spearman_over_lineages(s, r, group, value=0.9, rng=rng)
        methods[lineages] = found.method
        assert (found.low is None) == (lineages == 2)
    assert "withheld" in methods[2] and "wide" in methods[5] and "resampled" in methods[9]


def test_the_upper_end_is_not_one_by_rule() -> None:
    """A good and imperfect order of many lineages: 1 is not among the likely values."""
    rng = np.random.default_rng(0)
    s, r = runs(15, 0.4, rng)
    value = float(measures.spearman(s, r))
    found = spearman_over_lineages(s, r, np.repeat(np.arange(15), EACH), value=value, rng=rng)
    assert value < (found.high or 1) < 0.99


@pytest.mark.parametrize("lineages", [5, 9])
def test_a_perfect_order_has_no_point_for_an_interval(lineages: int) -> None:
    x = np.arange(float(lineages))
    found = spearman_over_lineages(
        x, x, np.arange(lineages), value=1.0, rng=np.random.default_rng(0)
    )
    assert (found.low or 1) < 0.9
    assert found.high == 1.0


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_are_copies(name: str, rng: np.random.Generator) -> None:
    s, r = rng.integers(0, 6, (2, 8)) / 5
    weight = np.array([[1.0, 2, 0, 3, 1, 0, 1, 0]])
    copies = np.repeat(np.arange(8), weight[0].astype(int))
    plain = {
        "pearson": measures.pearson,
        "spearman": measures.spearman,
        "mmrv": lambda s, r: measures.mmrv(predicted=s, real=r),
    }[name]
    assert WEIGHTED[name](s, r, weight)[0] == pytest.approx(float(plain(s[copies], r[copies])))


def test_policies_of_unknown_lineage_stand_alone(rng: np.random.Generator) -> None:
    group = lineage_of(("a", "b", "c", "x"), {"a": "x", "b": "x"})
    assert group.tolist() == [0, 0, 1, 2]  # 'x' the policy is not of the lineage 'x'
    drawn = resampled(group, rng=rng, draws=50)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 1:].sum(axis=1) == 3).all()


def test_imagination_against_a_baseline_is_paired(rng: np.random.Generator) -> None:
    """A baseline that knows half as much: the difference is certain, though intervals overlap."""
    rates = np.linspace(0.05, 0.95, 24)
    real = bernoulli(rates, rng, tasks=1, starts=60)  # type: ignore[arg-type]
    imagined = bernoulli(rates, rng, tasks=1, starts=60)  # type: ignore[arg-type]
    noisy = {f"p{k}": float(rate + rng.normal(0, 0.3)) for k, rate in enumerate(rates)}
    found = baseline_difference(noisy, imagined, real, rng=rng)
    assert found["spearman"].method == "resampled over 8 lineages"
    assert (found["spearman"].low or 0) > 0 > (found["mmrv"].high or 0)
    alike = {f"p{k}": float(rate + rng.normal(0, 0.02)) for k, rate in enumerate(rates)}
    same = baseline_difference(alike, imagined, real, rng=rng)["spearman"]
    assert (same.low or 1) < 0.02 and (same.value or 1) < 0.05
    few = baseline_difference(noisy, imagined.only(policies=imagined.policies[:9]),
                              real.only(policies=real.policies[:9]), rng=rng)  # fmt: skip
    assert "3 lineages are few" in few["pearson"].method
    with pytest.raises(UserError, match="no value for policy"):
        baseline_difference({}, imagined, real, rng=rng)


def test_agreement_reads_lineages_of_the_table(rng: np.random.Generator) -> None:
    rates = np.linspace(0.05, 0.95, 24)  # 8 runs of 3 checkpoints each
    sides = [bernoulli(rates, rng, tasks=1, starts=40) for _ in "sr"]  # type: ignore[arg-type]
    found = agreement(*sides, rng=rng)
    assert found.pearson.method == "Fisher z over 8 lineages"
    assert found.spearman.clusters == 8
    assert found.spearman_starts.method == "resampled starts, these policies"
