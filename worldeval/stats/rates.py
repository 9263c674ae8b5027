"""Success rates with intervals: for binary trials, for clustered trials, and from a posterior."""

from dataclasses import replace

import numpy as np
import scipy

from worldeval.axes import Array, Float, Int
from worldeval.stats.estimate import Estimate

LEVEL = 0.95


def wilson(successes: float, n: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Compute the Wilson score interval (Wilson 1927), also for fractional (effective) counts.

    Its coverage is close to its level on average, but not everywhere: for n = 10 it is .893 at
    worst for rates in [.02, .98], and .835 outside.
    """
    low, high = wilson_bounds(np.array(float(successes)), np.array(float(n)), level=level)
    return float(low), float(high)


def wilson_bounds(
    successes: Float[Array, "*b"], n: Float[Array, "*b"], *, level: float = LEVEL
) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """Compute `wilson` for arrays of counts; the interval is [0, 1] if n is 0."""
    z2 = scipy.special.ndtri((1 + level) / 2) ** 2
    trials = np.maximum(n, 1e-12)
    p = successes / trials
    middle = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = np.sqrt(z2 * (p * (1 - p) + z2 / (4 * trials)) / trials) / (1 + z2 / trials)
    # Rounding can push a bound of 0/n or n/n past the end of [0, 1] that it must equal.
    low = np.where((successes <= 0) | (n <= 0), 0.0, np.maximum(middle - half, 0.0))
    high = np.where((successes >= n) | (n <= 0), 1.0, np.minimum(middle + half, 1.0))
    return low, high


def clopper_pearson(successes: int, n: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Compute the exact interval (Clopper and Pearson 1934), which covers at least its level."""
    if n == 0:
        return 0.0, 1.0
    bounds = scipy.stats.binomtest(successes, n).proportion_ci(level, method="exact")
    return float(bounds.low), float(bounds.high)


def jeffreys(successes: float, n: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Compute the central Beta(1/2, 1/2) posterior interval, closed at an end that was observed."""
    posterior = scipy.stats.beta(successes + 0.5, n - successes + 0.5)
    low, high = posterior.ppf([(1 - level) / 2, (1 + level) / 2])
    return (0.0 if successes == 0 else float(low)), (1.0 if successes == n else float(high))


INTERVALS = {"wilson": wilson, "exact": clopper_pearson, "jeffreys": jeffreys}


def rate(successes: int, n: int, *, level: float = LEVEL, method: str = "wilson") -> Estimate:
    """Estimate the rate of independent binary trials by 'wilson', 'exact' or 'jeffreys'."""
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be between 0 and {n} (the trials), got {successes}")
    low, high = INTERVALS[method](successes, n, level=level)
    value = successes / n if n else None
    return Estimate(value=value, low=low, high=high, level=level, n=n, clusters=n, method=method)


def clustered_rate(
    means: Float[Array, " n"],
    *,
    weights: Float[Array, " n"] | None = None,
    trials: int | None = None,
    level: float = LEVEL,
) -> Estimate:
    """Estimate the rate of binary trials from repeated starts, by Wilson with effective trials.

    The effective number of trials is p(1-p) over the variance of the mean. It lies between the
    number of starts (starts differ as much as they can) and the number of episodes (starts do not
    matter).

    Args:
        means: success rate of each start (0 or 1 if it was run once).
        weights: weight of each start in the rate, summing to 1; equal by default.
        trials: total number of episodes; one per start by default.
    """
    starts = len(means)
    trials = starts if trials is None else trials
    if starts == 0:
        return Estimate(
            value=None, low=0.0, high=1.0, level=level, n=0, clusters=0, method="wilson"
        )
    weights = np.full(starts, 1 / starts) if weights is None else weights
    p = float(np.clip(weights @ means, 0, 1))
    count = 1 / float(np.sum(weights**2))  # Kish: unequal weights count as fewer starts
    if trials > starts and 0 < p < 1:
        # Add two starts with maximal variance, so that a few starts that happen to agree are not
        # mistaken for starts that do not matter.
        prior = (p * starts + 1) / (starts + 2)
        spread = float(weights @ (means - p) ** 2) + 2 * prior * (1 - prior) / starts
        count *= float(np.clip(p * (1 - p) / spread, 1, trials / starts))
    low, high = wilson(p * count, count, level=level)
    method = "wilson" if trials == starts else "wilson, clustered by start"
    return Estimate(
        value=p,
        low=min(low, p),
        high=max(high, p),
        level=level,
        n=trials,
        clusters=starts,
        method=method,
    )


def rate_over_tasks(
    means: Float[Array, "t c"], *, trials: Int[Array, "t c"], level: float = LEVEL
) -> Estimate:
    """Estimate the mean over tasks of the rate of binary trials; NaN marks starts not run.

    The interval is the hull of two: Wilson's for the whole with an effective number of trials
    (`clustered_rate`), and MOVER (Donner and Zou 2012) of the tasks' own Wilson intervals,
    theta -+ sqrt(sum_t (p_t - bound_t)^2) / T. The first alone uses p (1 - p) of the mean as the
    variance, which is too small if an uncertain task has few starts and a certain one many.
    """
    present = ~np.isnan(means)
    weight = present / present.sum(axis=1, keepdims=True) / len(means)
    whole = clustered_rate(
        means[present], weights=weight[present], trials=int(trials[present].sum()), level=level
    )
    if len(means) == 1 or np.ptp(present.sum(axis=1)) == 0:
        return whole
    tasks = [
        clustered_rate(row[here], trials=int(count[here].sum()), level=level)
        for row, here, count in zip(means, present, trials, strict=True)
    ]
    down, up = (
        float(np.sqrt(sum(((one.value or 0.0) - (bound or 0.0)) ** 2 for one, bound in side)))
        for side in ([(one, one.low) for one in tasks], [(one, one.high) for one in tasks])
    )
    value, low, high = whole.value or 0.0, whole.low or 0.0, whole.high or 0.0
    return replace(
        whole,
        low=max(0.0, min(low, value - down / len(tasks))),
        high=min(1.0, max(high, value + up / len(tasks))),
        method=f"{whole.method}, and MOVER over tasks",
    )
