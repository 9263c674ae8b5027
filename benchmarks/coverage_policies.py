"""Checks of `coverage.py` that are about several policies, tasks or lineages: plans, uneven starts,
missing cells, correlations over lineages, what imagination saves, and rates shrunk by phi.

Beside each stands the method that it replaced or that is in use elsewhere, without a bound.
"""

from typing import Any

import numpy as np
from scipy import stats

from worldeval.stats import betting, measures
from worldeval.stats.lineages import spearman_over_lineages
from worldeval.stats.plan import pairs_for_betting, pairs_for_mcnemar
from worldeval.stats.ppi import combine
from worldeval.stats.predictive import ValidatedRate, fit_worth
from worldeval.stats.rates import clustered_rate, rate_over_tasks
from worldeval.stats.shrunk import shrunk_rate

Row = dict[str, Any]


def row(check: str, value: float, bound: str | None = None) -> Row:
    """A line of the results."""
    return {"check": check, "value": float(value), "bound": bound}


def planned(rng: np.random.Generator, reps: int) -> list[Row]:
    """Does a plan of 80% power for a pair deliver it, by the test that is then applied?"""
    rows, few = [], max(reps // 4, 50)
    for p, gap, pairs in ((0.5, 0.1, 28), (0.5, 0.2, 28), (0.8, 0.1, 28), (0.5, 0.2, 1)):
        alpha, key = 0.05 / pairs, f"{p:g} vs {p + gap:g}, {pairs} pairs"
        only = (p + gap) * (1 - p), p * (1 - p - gap)
        z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(0.8)
        usual = int(np.ceil(z**2 * (p * (1 - p) + (p + gap) * (1 - p - gap)) / gap**2))
        for name, n, bound in (
            ("betting", pairs_for_betting(*only, comparisons=pairs), ">= .76"),
            ("z-test", usual, None),
        ):
            a, b = rng.random((2, few, n))
            found = betting.paired_test((a < p + gap).astype(float) - (b < p)).rejected(alpha)
            rows.append(
                row(f"power of the betting test, planned by {name} ({n} starts), {key}",
                    found.mean(), bound)
            )  # fmt: skip
        n = pairs_for_mcnemar(*only, comparisons=pairs)
        a, b = rng.random((2, reps, n))
        apart = (a < p + gap).astype(int) - (b < p)
        won, lost = (apart == 1).sum(axis=1), (apart == -1).sum(axis=1)
        p_value = 2 * stats.binom.cdf(np.minimum(won, lost), won + lost, 0.5)
        rows.append(
            row(f"power of McNemar's test, planned by itself ({n} starts), {key}",
                (p_value <= alpha).mean(), ">= .76")
        )  # fmt: skip
    return rows


def uneven(rng: np.random.Generator, reps: int) -> list[Row]:
    """A rate over tasks with unequal starts, and sequences of rounds that lack a task."""
    rows = []
    for starts, rates in (
        ((10, 100), (0.5, 0.02)),
        ((4, 60, 60), (0.6, 0.99, 0.99)),
        ((6, 80, 80, 80), (0.5, 0.0, 0.0, 0.0)),
        ((5, 100, 100, 100, 100), (0.5, 1.0, 1.0, 1.0, 1.0)),
        ((4, 20, 60), (0.7, 0.9, 0.97)),
        ((5, 40), (0.9, 0.1)),
    ):
        true, hit, alone, few = np.mean(rates), 0, 0, max(reps // 4, 50)
        present = np.arange(max(starts)) < np.array(starts)[:, None]
        weight = present / present.sum(axis=1, keepdims=True) / len(starts)
        for _ in range(few):
            drawn = (rng.random(present.shape) < np.array(rates)[:, None]).astype(float)
            found = rate_over_tasks(np.where(present, drawn, np.nan), trials=present.astype(int))
            one = clustered_rate(drawn[present], weights=weight[present])
            hit += (found.low or 0) <= true <= (found.high or 0)
            alone += (one.low or 0) <= true <= (one.high or 0)
        key = f"starts {starts}, rates {rates}"
        rows += [row(f"rate over tasks, {key}", hit / few, ">= .93"),
                 row(f"one effective number of trials, {key}", alone / few)]  # fmt: skip
    for rates, lacks in (((0.9, 0.1), 0.3), ((0.8, 0.3), 0.1), ((0.8, 0.3), 0.7)):
        x = (rng.random((max(reps // 4, 50), 200, 2)) < np.array(rates)).astype(float)
        x[rng.random(x.shape[:2]) < lacks, 1] = np.nan
        pooled = np.where(np.isnan(x[..., 1]), x[..., 0], np.nanmean(x, axis=2))
        for name, values, bound in (("left out", x, ">= .95"), ("taken as they are", pooled, None)):
            low, high = betting.sequence_end(values)
            hit = ((low <= np.mean(rates)) & (np.mean(rates) <= high)).mean()
            rows.append(
                row(f"confidence sequence, {lacks:.0%} of rounds lack a task, {name}, {rates}",
                    hit, bound)
            )  # fmt: skip
    return rows


def runs(
    lineages: int, error: float, rng: np.random.Generator, *, own: float = 0.8, each: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true values of checkpoints: truth and error go by training run."""

    def common() -> np.ndarray:
        one, apart = rng.normal(size=(lineages, 1)), rng.normal(size=(lineages, each))
        return (own * one + np.sqrt(1 - own**2) * apart).ravel()

    real = common()
    return real + error * common(), real


def over_lineages(rng: np.random.Generator, reps: int) -> list[Row]:
    """Pearson's and Spearman's intervals for other training runs of three checkpoints each."""
    rows, few = [], max(reps // 4, 50)
    for lineages in (5, 7, 8, 11, 15):
        for error in (0.3, 1.0):
            far = runs(20_000, error, np.random.default_rng(1))
            r, rho = float(measures.pearson(*far)), float(measures.spearman(*far))
            hit: dict[str, int] = {"lineages": 0, "policies": 0, "spearman": 0}
            width, group = 0.0, np.repeat(np.arange(lineages), 3)
            for _ in range(few):
                s, true = runs(lineages, error, rng)
                value = float(measures.pearson(s, true))
                for name, k in (("lineages", lineages), ("policies", 3 * lineages)):
                    low, high = measures.fisher_z(value, k, level=0.95) or (-1.0, 1.0)
                    hit[name] += low <= r <= high
                found = spearman_over_lineages(
                    s, true, group, value=float(measures.spearman(s, true)), rng=rng, draws=400
                )
                hit["spearman"] += (found.low or 0) <= rho <= (found.high or 0)
                width += (found.width or 0) / few
            key = f"{lineages} lineages x 3, evaluator error {error:g}"
            rows += [
                row(f"Pearson, Fisher z over lineages, {key}", hit["lineages"] / few, ">= .93"),
                row(f"Pearson, Fisher z over policies, {key}", hit["policies"] / few),
                row(f"Spearman over lineages, {key}", hit["spearman"] / few, ">= .90"),
                row(f"Spearman over lineages, mean width, {key}", width),
            ]
    return rows


def real_trials(rng: np.random.Generator, reps: int) -> list[Row]:
    """What imagination adds to few real trials: within a policy's starts, and between policies."""
    rows, few = [], max(reps // 4, 50)
    for n in (5, 10, 20):
        width, rho = [], []
        for _ in range(few):
            real = (rng.random(n) < 0.6).astype(float)
            paired = np.where(rng.random(n) < 0.18, real, rng.random(n) < 0.6)
            found = combine(real, paired, (rng.random(100) < 0.6).astype(float))
            if found.rho is not None and not found.findings:
                width.append(found.share_saved)
                rho.append(found.rho**2 * 100 / (n + 100))
        key = f"correlation .18 within cells, {n} real trials, where imagination was used"
        rows += [row(f"share saved by width, {key}", float(np.mean(width)), "<= .12"),
                 row(f"share saved by rho^2 N / (n + N), {key}", float(np.mean(rho)))]  # fmt: skip
    phi = 18.0
    for n in (5, 10, 15, 30):
        error, alone, hit, total = 0.0, 0.0, 0, 0
        for _ in range(max(reps // 400, 3)):
            shown = rng.uniform(0.05, 0.95, 60)
            true = rng.beta(shown * phi, (1 - shown) * phi)
            known = [
                ValidatedRate(policy=str(k), lineage=str(k // 2), predicted=float(shown[k]),
                              successes=float(rng.binomial(100, true[k])), trials=100)
                for k in range(20)
            ]  # fmt: skip
            worth = fit_worth(known)
            for k in range(20, 60):
                won = int(rng.binomial(n, true[k]))
                found = shrunk_rate(worth, float(shown[k]), won, n)
                error += abs((found.value or 0) - true[k])
                alone += abs(won / n - true[k])
                hit += (found.low or 0) <= true[k] <= (found.high or 0)
                total += 1
        rows += [
            row(f"rate shrunk by phi = 18, {n} real trials: coverage", hit / total, ">= .92"),
            row(f"rate shrunk by phi = 18, {n} real trials: mean error", error / total),
            row(f"{n} real trials alone: mean error", alone / total),
        ]
    return rows


CHECKS = {
    "plans": planned,
    "uneven": uneven,
    "lineages": over_lineages,
    "real trials": real_trials,
}
