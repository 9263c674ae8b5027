"""How many trials to buy, before buying them."""

from math import ceil, sqrt

from scipy import stats


def trials_to_separate(
    first: float, second: float, *, level: float = 0.95, power: float = 0.8, comparisons: int = 1
) -> int:
    """Independent trials per policy that tell two success rates apart (two-sided z-test).

    n = (z_{1-alpha/2} + z_power)^2 (p1 q1 + p2 q2) / (p1 - p2)^2, alpha Bonferroni-divided by
    `comparisons`. .5 against .6 needs 385.
    """
    if first == second:
        raise ValueError("Equal rates are never told apart.")
    spread = first * (1 - first) + second * (1 - second)
    return ceil(_z(level, power, comparisons) ** 2 * spread / (first - second) ** 2)


def pairs_to_separate(
    difference: float,
    spread: float,
    *,
    level: float = 0.95,
    power: float = 0.8,
    comparisons: int = 1,
) -> int:
    """Paired starts that tell a mean difference from 0, given its standard deviation per start."""
    if difference == 0:
        raise ValueError("A difference of 0 is never told from 0.")
    return max(2, ceil((_z(level, power, comparisons) * spread / difference) ** 2))


def pairs_of(policies: int) -> int:
    """Comparisons among this many policies."""
    return policies * (policies - 1) // 2


def imagined_per_real(rho: float, cost_ratio: float) -> float:
    """Best (n + N) / n when a real trial costs `cost_ratio` imagined ones.

    rho sqrt(c) / sqrt(1 - rho^2), at least 1 (no imagined trial pays).
    """
    return max(1.0, rho * sqrt(cost_ratio) / sqrt(1 - rho**2))


def _z(level: float, power: float, comparisons: int) -> float:
    alpha = (1 - level) / comparisons
    return float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
