"""Intervals of a ranking that remain valid when its roll-outs were allocated by their outcomes.

Choosing the next roll-out, or when to stop, from earlier outcomes biases plain means and
invalidates their intervals. The paired tests behind the tied groups (letters) remain valid,
because they are betting tests.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from worldeval.axes import Array, Float
from worldeval.evaluate.budget import SpendingReport
from worldeval.stats import Estimate, Finding, Ranking, betting, from_frame
from worldeval.stats.paired import Comparison, differences_by_round
from worldeval.stats.units import units

METHOD = "confidence sequence"


def anytime(ranking: Ranking, imagined: pd.DataFrame, spent: SpendingReport) -> Ranking:
    """Return `ranking` of the `imagined` scores with intervals valid under any stopping rule."""
    table = units(from_frame(imagined, source="imagined outcomes", without_text=True))
    place = {policy: k for k, policy in enumerate(table.policies)}
    tasks = {task: t for t, task in enumerate(table.tasks)}
    each = 1 - (1 - ranking.level) / max(len(ranking.comparisons), 1)

    def wider(comparison: Comparison) -> Comparison:
        apart = table.mean[place[comparison.first]] - table.mean[place[comparison.second]]
        if np.isnan(apart).all():
            return comparison
        unit = (differences_by_round(apart[None])[0] + 1) / 2
        low, high = _sequence(unit, level=each)
        return replace(
            comparison,
            difference=_with(comparison.difference, 2 * low - 1, 2 * high - 1),
        )

    return replace(
        ranking,
        policies=tuple(
            replace(row, estimate=_kept(row.estimate, spent.estimates[row.policy]))
            for row in ranking.policies
        ),
        cells={
            (policy, task): _with(
                estimate,
                *_sequence(table.mean[place[policy], tasks[task]][:, None], level=ranking.level),
            )
            for (policy, task), estimate in ranking.cells.items()
        },
        comparisons=tuple(wider(comparison) for comparison in ranking.comparisons),
    )


def spent_finding(spent: SpendingReport) -> Finding:
    """Finding that tells the reader how the roll-outs were allocated."""
    found = f"; {spent.leader} leads" if spent.leader else ""
    return Finding(
        code="adaptive_sampling",
        severity="warning",
        text=f"Roll-outs were allocated adaptively ({spent.allocate}; {spent.why}{found}): means "
        "lean towards what decided, and intervals are confidence sequences, which allow for it.",
    )


def _sequence(rounds: Float[Array, "n t"], *, level: float) -> tuple[float, float]:
    known = rounds[~np.isnan(rounds).all(axis=1)]
    low, high = betting.sequence_end(known[None], level=level)
    return float(low[0]), float(high[0])


def _with(estimate: Estimate, low: float, high: float) -> Estimate:
    """Replace the bounds of an estimate; its value, a plain mean, may lie just outside them."""
    value = estimate.value
    if value is not None:
        low, high = min(low, value), max(high, value)
    return replace(estimate, low=low, high=high, method=METHOD)


def _kept(estimate: Estimate, sequence: Estimate) -> Estimate:
    assert sequence.low is not None and sequence.high is not None
    return replace(_with(estimate, sequence.low, sequence.high), method=sequence.method)
