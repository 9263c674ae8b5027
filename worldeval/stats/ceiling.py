"""The noise ceiling: how well even a perfect evaluator could agree with so few trials.

Two evaluators are perfect: one that answers each start with success or failure at the true rate
(binary), whose own rates are as noisy as those of so many real trials, and one that answers with
the true rate itself (graded), beside which the noise is that of the real trials alone. Imagination
judged by probabilities lies between, and may agree better than the first.
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
    """Agreement of a perfect binary evaluator: two sets of binary trials of the same true rates.

    Args:
        rates: true rate per policy and task (one task: K x 1).
        n_real, n_predicted: starts per policy and task on either side.

    Returns:
        pearson, spearman and mmrv of the policy means: the median over simulations and the range
        that holds `level` of them. An observed agreement inside the range cannot be told from
        perfect.
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
    """Median and central range of the ceiling's measures over simulated policy means."""
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
    """Observed rates, predicted and real, of a perfect evaluator with so many starts a side."""
    shape = (draws, *rates.shape)
    n_predicted, n_real = (np.broadcast_to(n, rates.shape) for n in (n_predicted, n_real))
    predicted = rng.binomial(n_predicted, np.clip(rates, 0, 1), shape) / n_predicted
    return predicted, rng.binomial(n_real, np.clip(rates, 0, 1), shape) / n_real


def shrunk(cells: Float[Array, "k t"], n: Int[Array, "k t"]) -> Float[Array, "k t"]:
    """Observed rates pulled to their task's mean until they spread as true rates would.

    Observed rates spread by Var(p) + E[p(1-p)/n]; a ceiling computed from them as they stand
    would take the noise for real differences and come out too high.
    """
    if len(cells) < 2:
        return cells
    centre = cells.mean(axis=0)
    seen = cells.var(axis=0, ddof=1)
    noise = (cells * (1 - cells) / np.maximum(n - 1, 1)).mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        keep = np.where(seen > 0, np.sqrt(np.clip(1 - noise / seen, 0, 1)), 0.0)
    return centre + keep * (cells - centre)
