"""Ranking of policies from trials: estimates, comparisons, letters, probability of being best."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldeval.axes import Array, Float
from worldeval.stats import betting, findings
from worldeval.stats.best import expected_regret, probability_best
from worldeval.stats.estimate import Estimate
from worldeval.stats.findings import Finding
from worldeval.stats.letters import compact_letters
from worldeval.stats.outcomes import Outcomes
from worldeval.stats.paired import Comparison, compare_all, differences_by_round
from worldeval.stats.predictive import (
    RateWorth,
    ValidatedRates,
    draw_true_rates,
    order_probability,
    predictive_interval,
    trials_to_tell,
)
from worldeval.stats.rates import rate_over_tasks
from worldeval.stats.resample import DRAWS, draw_cells
from worldeval.stats.units import Units, units


@dataclass(frozen=True, kw_only=True)
class RankedPolicy:
    """One row of a ranking table."""

    rank: int  # 1 is best; policies of equal rate share a rank
    policy: str
    lineage: str | None
    step: float | None
    estimate: Estimate
    letters: str  # two policies share a letter exactly if they are statistically tied
    probability_best: float
    expected_regret: float  # rate lost, in expectation, by choosing it
    # The true rate, if policies of other lineages were both imagined and measured; `estimate` is
    # then the rate that more imagined starts would converge to.
    predictive: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Policies from best to worst, with comparisons and findings about their order."""

    policies: tuple[RankedPolicy, ...]
    cells: Mapping[tuple[str, str], Estimate]  # (policy, task)
    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    level: float
    worth: Estimate | None = None  # of an imagined rate, in trials (`predictive.py`)
    worth_text: str | None = None
    worth_quartile: float | None = None  # its lower quartile, used when advising on trials
    test: str = "betting"  # of two policies (`paired.py`)

    @property
    def headline(self) -> str | None:
        """Headline to print above the table if it must not be read as a ranking, or else None."""
        return findings.first_line(self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the ranking as plain data for a file."""
        return {
            "headline": self.headline,
            "level": self.level,
            "test": self.test,
            "policies": [
                {
                    "rank": row.rank,
                    "policy": row.policy,
                    "lineage": row.lineage,
                    "step": row.step,
                    **row.estimate.record(),
                    "letters": row.letters,
                    "probability_best": row.probability_best,
                    "expected_regret": row.expected_regret,
                    **({"predictive": row.predictive.record()} if row.predictive else {}),
                }
                for row in self.policies
            ],
            "cells": [
                {"policy": policy, "task": task, **estimate.record()}
                for (policy, task), estimate in self.cells.items()
            ],
            "comparisons": [c.to_json() for c in self.comparisons],
            "findings": [f.to_json() for f in self.findings],
            **(
                {
                    "worth": self.worth.record(),
                    "worth_text": self.worth_text,
                    "worth_quartile": self.worth_quartile,
                }
                if self.worth
                else {}
            ),
        }


def rank(
    outcomes: Outcomes,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    power: float = 0.8,
    validated: bool = True,
    draws: int = DRAWS,
    known: ValidatedRates | None = None,
    test: str = "betting",
) -> Ranking:
    """Rank policies by their rate: the mean over tasks of the mean over starts.

    Args:
        outcomes: imagined scores or true successes; every policy on every task.
        rng: generator of the posterior draws behind the probability of being best.
        level: level of all intervals, and 1 - the family-wise error rate of the letters.
        power: power assumed for the number of starts that would separate a pair.
        validated: whether these rates were compared with measured outcomes, as imagined rates
            must be.
        known: policies that were both imagined and measured. With three or more lineages besides a
            policy's own, its interval, ties and probability of being best refer to its true rate
            (`predictive.py`). Otherwise they refer to the given outcomes: the rate that more starts
            would converge to.
        test: test of two policies, 'betting' or 'mcnemar' (`paired.compare_all`).

    Raises:
        UserError: a policy was not run on some task, or the test cannot be applied.
    """
    table = units(outcomes)
    order = np.argsort(-np.round(table.rates, 12), kind="stable")
    names = [outcomes.policies[k] for k in order]
    table = units(outcomes.only(policies=names))
    comparisons = compare_all(table, level=level, power=power, test=test)
    drawn = draw_cells([table], rng=rng, draws=draws)[0].mean(axis=2)
    worths = [known.worth(outcomes.lineage.get(name)) if known else None for name in names]
    worth = worths[0]
    if all(each is not None for each in worths):
        worths = [each for each in worths if each is not None]
        drawn = draw_true_rates(drawn, worths, rng=rng.spawn(1)[0])
        comparisons = _true_order(comparisons, names, table.rates, drawn, worths, level, power)
    else:
        worth = None
    place = {name: k for k, name in enumerate(names)}
    separated = np.zeros((len(names), len(names)), dtype=bool)
    for c in comparisons:
        i, j = place[c.first], place[c.second]
        separated[i, j] = separated[j, i] = c.separated
    letters = compact_letters(separated)
    best, regret = probability_best(drawn), expected_regret(drawn)
    found = [*findings.no_truth(validated), *findings.not_separated(comparisons)]
    if len(names) > 1 and any(c.separated for c in comparisons):
        found += findings.leader_not_separated(comparisons, names[0], best=float(best[0]))
    rates = np.round(table.rates, 12)
    return Ranking(
        policies=tuple(
            RankedPolicy(
                rank=1 + int((rates > rates[k]).sum()),
                policy=name,
                lineage=outcomes.lineage.get(name),
                step=outcomes.step.get(name),
                estimate=policy_estimate(table, k, level=level),
                letters=letters[k],
                probability_best=float(best[k]),
                expected_regret=float(regret[k]),
                predictive=predictive_interval(
                    drawn[:, k],
                    level=level,
                    n=int(table.trials[k].sum()),
                    clusters=int(table.count[k].sum()),
                )
                if worth
                else None,
            )
            for k, name in enumerate(names)
        ),
        cells={
            (name, task): policy_estimate(table, k, level=level, task=t)
            for k, name in enumerate(names)
            for t, task in enumerate(table.tasks)
        },
        comparisons=tuple(comparisons),
        findings=tuple(found),
        level=level,
        worth=worth.trials if worth else None,
        worth_text=worth.sentence() if worth else None,
        worth_quartile=worth.quantile(0.25) if worth else None,
        test=test,
    )


def _true_order(
    comparisons: list[Comparison],
    names: list[str],
    rates: Float[Array, " k"],
    drawn: Float[Array, "b k"],
    worths: list[RateWorth],
    level: float,
    power: float,
) -> list[Comparison]:
    """Decide comparisons by the probability that the order of the true rates is as predicted.

    A pair is separated if one order has a probability of at least (1 + level) / 2. If the
    probability would stay below that even with exact imagined rates, no number of imagined starts
    can separate the pair, and `needed_trials` is the number of trials of each policy that would.
    """
    order = order_probability(drawn)
    place = {name: k for k, name in enumerate(names)}
    sure = (1 + level) / 2
    exact = draw_true_rates(
        np.tile(rates, (len(drawn), 1)), worths, rng=np.random.default_rng(len(drawn))
    )
    limit = order_probability(exact)
    out = []
    for c in comparisons:
        i, j = place[c.first], place[c.second]
        separated = bool(max(order[i, j], order[j, i]) >= sure)
        hopeless = max(limit[i, j], limit[j, i]) < sure
        trials = None
        if not separated and hopeless:
            trials = trials_to_tell(worths[i], rates[i], rates[j], level=level, power=power)
        out.append(
            replace(
                c,
                order=float(order[i, j]),
                separated=separated,
                needed=None if separated or hopeless else c.needed,
                needed_trials=trials,
            )
        )
    return out


def policy_estimate(
    table: Units, k: int, *, level: float = 0.95, task: int | None = None
) -> Estimate:
    """Estimate the rate of policy k, over all tasks or on one: Wilson if binary, else betting."""
    tasks = slice(None) if task is None else slice(task, task + 1)
    mean, trials = table.mean[k, tasks], int(table.trials[k, tasks].sum())
    if not table.binary:
        rounds = differences_by_round(mean[None])[0]
        found = betting.mean_score(rounds, trials=trials, level=level)
        value = float(np.nanmean(mean, axis=1).mean())
        return Estimate(
            value=value,
            low=min(found.low or 0.0, value),
            high=max(found.high or 0.0, value),
            level=level,
            n=trials,
            clusters=int((~np.isnan(mean)).sum()),
            method=found.method,
        )
    return rate_over_tasks(mean, trials=table.trials[k, tasks], level=level)
