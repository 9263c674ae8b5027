"""Draws of the true rates given the trials: what another set of starts could have shown.

Beta(1/2, 1/2) posterior of each cell, written as weights so that it also holds for graded and
clustered trials: a start's mean weighs Exp(1), and half a success and half a failure weigh
Gamma(1/2) each (a Dirichlet process whose prior is worth one trial). For independent binary
trials this *is* Beta(1/2 + k, 1/2 + n - k). Policies tried from the same start, imagined or real,
share its weight, so that a hard start is hard for all of them.
"""

from collections.abc import Sequence

import numpy as np

from worldeval.axes import Array, Float
from worldeval.stats.units import Units

DRAWS = 2000


def draw_cells(
    sides: Sequence[Units], *, rng: np.random.Generator, draws: int = DRAWS
) -> list[Float[Array, "b k t"]]:
    """Posterior draws of the rate of every policy and task, for sides that share a layout."""
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
    """Interval of a measure of agreement; None where it is undefined.

    Policies are fixed: it says what other starts could have shown of these.

    A percentile interval alone is badly wrong here: the observed rates are the true ones plus
    noise, the draws add the noise once more, and every measure of agreement suffers from noise,
    so the draws lie on one side of the observed value while the truth lies on the other (at 20
    policies, 3 x 40 independent starts and a perfect evaluator it covers 0%). The interval is
    the hull of the percentile interval, its reflection about the observed value, and the observed
    value corrected for what noise alone costs a perfect evaluator, at the end of that cost that
    `level` leaves out: divided by it where 1 is best (Spearman 1904, attenuation), less it where 0
    is best, or less its median and half the length of the percentile interval, whichever is lower.
    `benchmarks/coverage.py` measures it.

    Args:
        value: of the observed rates.
        draws: of rates redrawn given the trials (`draw_cells`).
        perfect: of simulated trials of a perfect evaluator (`ceiling.py`).
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
