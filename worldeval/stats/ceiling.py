"""Noise ceiling: the best agreement that a perfect evaluator can reach with this many trials.

There are two perfect evaluators. A binary one answers each start with success or failure at the
true rate, so its rates are as noisy as those of the same number of real trials. A graded one
answers with the true rate itself, so the only noise is that of the real trials. Imagination judged
by probabilities lies between the two, and may agree better than the binary one.
"""

import numpy as np

from worldeval.axes import Array, Float, Int
from worldeval.stats import measures
from worldeval.stats.estimate import Estimate

DRAWS = 2000
BINARY = "a perfect binary evaluator with as many starts, simulated"
GRADED = "a perfect graded evaluator, simulated"


def noise_ceiling(
    rates: Float[Array, "k t"],
    *,
    n_real: Int[Array, "k t"] | int,
    n_predicted: Int[Array, "k t"] | int,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = DRAWS,
) -> dict[str, Estimate]:
    """Simulate the agreement of a perfect binary evaluator: two sets of trials at the same rates.

    Args:
        rates: true rate per policy and task (K x 1 for a single task).
        n_real, n_predicted: number of starts per policy and task on each side.

    Returns:
        pearson, spearman and mmrv of the policy means: the median over simulations and the range
        that contains `level` of them. An observed agreement inside this range is consistent with
        a perfect evaluator.
    """
    predicted, real = (
        cells.mean(axis=2)
        for cells in perfect_cells(
            rates, n_real=n_real, n_predicted=n_predicted, rng=rng, draws=draws
        )
    )
    return summarise(predicted, real, level=level)


def summarise(
    predicted: Float[Array, "b k"],
    real: Float[Array, "b k"],
    *,
    level: float,
    method: str = BINARY,
) -> dict[str, Estimate]:
    """Compute the median and central range of each measure over simulated policy means."""
    found = {
        "pearson": measures.pearson(predicted, real),
        "spearman": measures.spearman(predicted, real),
        "mmrv": measures.mmrv(predicted=predicted, real=real),
    }
    tail = (1 - level) / 2
    ceiling = {}
    for name, values in found.items():
        values = values[~np.isnan(values)]
        low, value, high = (
            np.quantile(values, [tail, 0.5, 1 - tail]) if len(values) else (None, None, None)
        )
        ceiling[name] = Estimate(
            value=value,
            low=low,
            high=high,
            level=level,
            n=real.shape[1],
            clusters=real.shape[1],
            method=method,
        )
    return ceiling


def perfect_cells(
    rates: Float[Array, "k t"],
    *,
    n_real: Int[Array, "k t"] | int,
    n_predicted: Int[Array, "k t"] | int,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> tuple[Float[Array, "b k t"], Float[Array, "b k t"]]:
    """Simulate observed rates on both sides for a perfect evaluator with these starts per side."""
    shape = (draws, *rates.shape)
    n_predicted, n_real = (np.broadcast_to(n, rates.shape) for n in (n_predicted, n_real))
    predicted = rng.binomial(n_predicted, np.clip(rates, 0, 1), shape) / n_predicted
    return predicted, rng.binomial(n_real, np.clip(rates, 0, 1), shape) / n_real


def shrunk(cells: Float[Array, "k t"], n: Int[Array, "k t"]) -> Float[Array, "k t"]:
    """Shrink observed rates to their task's mean until their spread is that of the true rates.

    The variance of observed rates is Var(p) + E[p(1-p)/n]. A ceiling computed from unshrunk rates
    would mistake noise for true differences and be too high.
    """
    if len(cells) < 2:
        return cells
    centre = cells.mean(axis=0)
    seen = cells.var(axis=0, ddof=1)
    noise = (cells * (1 - cells) / np.maximum(n - 1, 1)).mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        keep = np.where(seen > 0, np.sqrt(np.clip(1 - noise / seen, 0, 1)), 0.0)
    return centre + keep * (cells - centre)
