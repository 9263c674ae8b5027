"""Posterior draws of the true rates given the trials: the variation over sets of starts.

This is the Beta(1/2, 1/2) posterior of each cell, written as weights so that it also applies to
graded and clustered trials: the mean of a start has weight Exp(1), and half a success and half a
failure have weight Gamma(1/2) each (a Dirichlet process whose prior is worth one trial). For
independent binary trials it *equals* Beta(1/2 + k, 1/2 + n - k). Policies run from the same start,
imagined or real, share its weight, so that a hard start is hard for all of them.
"""

from collections.abc import Sequence

import numpy as np

from worldeval.axes import Array, Float
from worldeval.stats.units import Units

DRAWS = 2000


def draw_cells(
    sides: Sequence[Units], *, rng: np.random.Generator, draws: int = DRAWS
) -> list[Float[Array, "b k t"]]:
    """Draw rates of every policy and task from the posterior, for sides that share a layout."""
    first = sides[0]
    policies, tasks, starts = first.mean.shape
    cells = [np.empty((draws, policies, tasks)) for _ in sides]
    for task in range(tasks):
        weight = rng.standard_exponential((draws, starts))
        for side, out in zip(sides, cells, strict=True):
            mean = side.mean[:, task]
            present = ~np.isnan(mean)
            won, lost = rng.standard_gamma(0.5, (2, draws, policies))
            success = weight @ np.where(present, mean, 0.0).T + won
            out[:, :, task] = success / (weight @ present.T + won + lost)
    return cells


def interval(
    value: float,
    draws: Float[Array, " b"],
    perfect: Float[Array, " b"],
    *,
    best: float,
    worst: float,
    level: float,
) -> tuple[float, float] | None:
    """Compute the interval of a measure of agreement; None if it is undefined.

    Policies are fixed: the interval describes the variation over other starts, for these policies.

    A percentile interval alone fails badly here. The observed rates are the true ones plus noise,
    and the draws add the noise once more. Noise worsens every measure of agreement, so the draws
    lie on one side of the observed value and the true value lies on the other: for 20 policies,
    3 x 40 independent starts and a perfect evaluator, the interval covers 0%. The interval used is
    the hull of the percentile interval, its reflection about the observed value, and the observed
    value corrected for the cost of noise to a perfect evaluator, taken at the end of that cost that
    `level` excludes: divided by it if 1 is best (Spearman 1904, attenuation), minus it if 0 is
    best, or minus its median and half the length of the percentile interval, whichever is lower.
    `benchmarks/interval_coverage.py` measures the coverage.

    Args:
        value: the measure on the observed rates.
        draws: the measure on rates redrawn given the trials (`draw_cells`).
        perfect: the measure on simulated trials of a perfect evaluator (`ceiling.py`).
        best, worst: ends of the measure's range; the best is 1 or 0.
    """
    draws = draws[~np.isnan(draws)]
    if np.isnan(value) or len(draws) == 0:
        return None
    tail = (1 - level) / 2
    low, high = ends = np.quantile(draws, [tail, 1 - tail])
    low, high = min(low, 2 * value - high, value), max(high, 2 * value - low, value)
    perfect = perfect[~np.isnan(perfect)]
    if len(perfect) and best > worst:
        cost = float(np.quantile(perfect, tail)) / best
        if value > 0 and cost > 0:
            high = max(high, value / cost)
    elif len(perfect):
        usual, most = np.quantile(perfect, [0.5, 1 - tail])
        low = min(low, value - float(most), value - float(usual) - float(np.ptp(ends)) / 2)
    return max(float(low), min(best, worst)), min(float(high), max(best, worst))
