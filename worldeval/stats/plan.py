"""How many trials to buy, before buying them."""

from dataclasses import asdict, dataclass
from math import ceil, log, sqrt
from typing import Any

import scipy

from worldeval.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to buy to tell policies apart, per policy."""

    policies: int
    gap: float
    power: float
    level: float
    comparisons: int
    real_one_pair: int  # real trials per policy, if a single pair were compared
    real_alone: int  # real trials per policy for all pairs (Bonferroni), without imagination
    rho: float | None
    cost_ratio: float | None
    real: int  # real trials per policy, with imagination
    imagined: int  # imagined rollouts per policy, the `real` paired ones included
    share_saved: float  # of real trials
    cost: float  # in real trials, all policies
    cost_alone: float
    advice: str

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


def plan(
    *,
    policies: int,
    gap: float,
    power: float = 0.8,
    level: float = 0.95,
    rate: float = 0.5,
    rho: float | None = None,
    cost_ratio: float = 100.0,
) -> Plan:
    """Trials that tell every pair with rates `rate` and `rate + gap` apart.

    Args:
        rho: correlation of real and imagined outcomes from the same start; None: no imagination.
        cost_ratio: cost of a real trial over that of an imagined one.

    Raises:
        UserError: a number is out of its range.
    """
    for name, value, fine, range_ in (
        ("--policies", policies, policies >= 2, "2 or more"),
        ("--gap", gap, 0 < gap <= 1 - rate, f"above 0 and at most {1 - rate:g} (from {rate:g})"),
        ("--power", power, 0 < power < 1, "between 0 and 1"),
        ("--level", level, 0 < level < 1, "between 0 and 1"),
        ("--rate", rate, 0 <= rate < 1, "at least 0 and below 1"),
        ("--rho", rho, rho is None or 0 <= rho < 1, "at least 0 and below 1"),
        ("--cost-ratio", cost_ratio, cost_ratio > 0, "above 0"),
    ):
        if not fine:
            raise UserError(f"{name} is {value}; it must be {range_}.")
    pairs = pairs_of(policies)
    one = trials_to_separate(rate, rate + gap, level=level, power=power)
    alone = trials_to_separate(rate, rate + gap, level=level, power=power, comparisons=pairs)
    real, imagined, share = alone, 0, 0.0
    if rho is not None:
        ratio = imagined_per_real(rho, cost_ratio)
        share = rho**2 * (ratio - 1) / ratio
        real = max(2, ceil(alone * (1 - share)))
        imagined = ceil(real * ratio)
    cost = policies * (real + imagined / cost_ratio)
    if rho is None:
        advice = "Real trials only. Give --rho (from `worldeval validate` on pairs) to plan both."
    elif share == 0 or cost >= policies * alone:
        real, imagined, share, cost = alone, 0, 0.0, float(policies * alone)
        advice = f"Imagination does not pay at rho = {rho:g} and this cost: real trials only."
    else:
        advice = (
            f"Imagination replaces {share:.0%} of the real trials, if rho really is {rho:g} and "
            "every real trial is imagined from its start too."
        )
    return Plan(
        policies=policies,
        gap=gap,
        power=power,
        level=level,
        comparisons=pairs,
        real_one_pair=one,
        real_alone=alone,
        rho=rho,
        cost_ratio=None if rho is None else cost_ratio,
        real=real,
        imagined=imagined,
        share_saved=share,
        cost=float(cost),
        cost_alone=float(policies * alone),
        advice=advice,
    )


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
    """Paired starts after which the betting test tells a mean difference from 0.

    Its log wealth grows by d^2 / (2 s^2) a start (the best bet is d / s^2), with standard deviation
    d / s, and must reach log(2 / alpha): u^2 / 2 - z_power u = log(2 / alpha), u = sqrt(n) d / s.

    Args:
        spread: standard deviation of the difference per start.
    """
    if difference == 0:
        raise ValueError("A difference of 0 is never told from 0.")
    z = float(scipy.stats.norm.ppf(power))
    u = z + sqrt(z**2 + 2 * log(2 * comparisons / (1 - level)))
    return max(2, ceil((u * spread / difference) ** 2))


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
    return float(scipy.stats.norm.ppf(1 - alpha / 2) + scipy.stats.norm.ppf(power))
