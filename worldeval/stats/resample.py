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
    value: float, draws: Float[Array, " b"], *, level: float
) -> tuple[float, float] | None:
    """Percentile interval of the draws, widened to hold the value; None if most are undefined."""
    draws = draws[~np.isnan(draws)]
    if np.isnan(value) or len(draws) == 0:
        return None
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return min(float(low), value), max(float(high), value)
