"""Intervals of agreement over lineages (training runs) instead of starts.

Checkpoints of one training run improve, degrade and are misjudged together, so a correlation over
seven lineages with three checkpoints each has seven independent units, not twenty-one. With `MANY`
or more lineages, lineages are resampled together with all of their checkpoints. A draw is a vector
of weights: how often each policy occurs in the resample.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy

from worldeval.axes import Array, Float, Int
from worldeval.stats.estimate import Estimate

MANY = 8  # number of lineages from which resampling reaches its coverage
FEWEST = 4  # minimum number of lineages for an interval

Weighted = Callable[[Array, Array, Array], Array]  # predicted, real (k), weights (b, k) -> (b)


def lineage_of(policies: Sequence[str], lineage: Mapping[str, str]) -> Int[Array, " k"]:
    """Return the lineage index of each policy; one of unknown lineage is a lineage of its own."""
    names = [(name in lineage, lineage.get(name, name)) for name in policies]
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([place[name] for name in names])


def resampled(
    group: Int[Array, " k"], *, rng: np.random.Generator, draws: int
) -> Float[Array, "b k"]:
    """Draw as many lineages with replacement, and count how often each policy occurs."""
    count = int(group.max()) + 1
    return rng.multinomial(count, np.full(count, 1 / count), draws)[:, group].astype(float)


def pearson_weighted(
    predicted: Float[Array, "*b k"], real: Float[Array, "*b k"], weight: Float[Array, "b k"]
) -> Float[Array, " b"]:
    """Compute `measures.pearson` of resamples; NaN if one side is constant."""
    share = weight / weight.sum(axis=1, keepdims=True)
    s = predicted - (share * predicted).sum(axis=1, keepdims=True)
    r = real - (share * real).sum(axis=1, keepdims=True)
    scale = (share * s**2).sum(axis=1) * (share * r**2).sum(axis=1)
    known = scale > 1e-20
    return np.where(known, (share * s * r).sum(axis=1) / np.sqrt(np.where(known, scale, 1)), np.nan)


def spearman_weighted(
    predicted: Float[Array, " k"], real: Float[Array, " k"], weight: Float[Array, "b k"]
) -> Float[Array, " b"]:
    """Compute `measures.spearman` of resamples: ranks within each, copies share their mean rank."""

    def ranks(x: Float[Array, " k"]) -> Float[Array, "b k"]:
        x = np.round(x, 12)
        below, level = (x[:, None] > x[None]).astype(float), (x[:, None] == x[None]).astype(float)
        return weight @ below.T + (weight @ level.T + 1) / 2

    return pearson_weighted(ranks(predicted), ranks(real), weight)


def mmrv_weighted(
    predicted: Float[Array, " k"], real: Float[Array, " k"], weight: Float[Array, "b k"]
) -> Float[Array, " b"]:
    """Compute `measures.mmrv` of resamples."""
    s, r = (np.round(x[:, None] - x[None], 12) for x in (predicted, real))
    violation = np.where((s > 0) != (r > 0), np.abs(r), 0.0)
    worst = np.where(weight[:, None, :] > 0, violation[None], 0.0).max(axis=2)
    return (weight * worst).sum(axis=1) / weight.sum(axis=1)


WEIGHTED: dict[str, Weighted] = {
    "pearson": pearson_weighted,
    "spearman": spearman_weighted,
    "mmrv": mmrv_weighted,
}


def spearman_over_lineages(
    predicted: Float[Array, " k"],
    real: Float[Array, " k"],
    group: Int[Array, " k"],
    *,
    value: float,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 2000,
) -> Estimate:
    """Estimate Spearman's rho (`value`, None if NaN) with its interval over lineages.

    With 8 or more lineages, lineages are resampled. With 4 to 7, the interval is the normal one of
    atanh rho with variance (1 + rho^2 / 2) / (L - 3) (Bonett and Wright 2000), which counts
    lineages and is wide. With fewer, there is none. A perfect order is treated as one with a
    single neighbouring pair of lineages swapped, so that its interval is not a point.
    """
    lineages, low, high = int(group.max()) + 1, None, None
    if np.isnan(value):
        method = "undefined"
    elif lineages < FEWEST:
        method = f"withheld: {lineages} lineages are too few for an interval"
    elif lineages < MANY:
        method = f"normal over {lineages} lineages: few, so that it is wide"
        low, high = _normal(value, lineages, level=level)
    else:
        method = f"resampled over {lineages} lineages"
        drawn = spearman_weighted(predicted, real, resampled(group, rng=rng, draws=draws))
        low, high = central(drawn, value, level=level)
        if abs(value) > _edge(lineages):  # every resample of a perfect order is perfect
            wide = _normal(value, lineages, level=level)
            low, high = min(low, wide[0]), max(high, wide[1])
    return Estimate(
        value=value, low=low, high=high, level=level, n=len(real), clusters=lineages, method=method
    )


def _edge(lineages: int) -> float:
    """Spearman's rho of a perfect order of n lineages with one neighbouring pair swapped."""
    return 1 - 12 / (lineages**3 - lineages)


def _normal(value: float, lineages: int, *, level: float) -> tuple[float, float]:
    rho = float(np.clip(value, -_edge(lineages), _edge(lineages)))
    half = scipy.stats.norm.ppf((1 + level) / 2) * np.sqrt((1 + rho**2 / 2) / (lineages - 3))
    middle = np.arctanh(rho)
    return min(float(np.tanh(middle - half)), value), max(float(np.tanh(middle + half)), value)


def central(drawn: Float[Array, " b"], value: float, *, level: float) -> tuple[float, float]:
    """Compute the central interval of the defined draws, extended to contain `value`."""
    tail = (1 - level) / 2
    low, high = np.quantile(drawn[~np.isnan(drawn)], [tail, 1 - tail])
    return min(float(low), value), max(float(high), value)
