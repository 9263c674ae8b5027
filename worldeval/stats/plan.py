"""Planning of the number of trials before running them."""

from dataclasses import asdict, dataclass
from math import ceil, log, sqrt
from typing import Any

import numpy as np
import scipy

from worldeval.axes import Array, Float, Int
from worldeval.errors import UserError, did_you_mean
from worldeval.stats import betting

TESTS = ("betting", "mcnemar")  # tests of two policies from the same starts; see `paired.py`
LARGE = 5000  # starts


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Numbers of trials per policy that are needed to separate policies."""

    policies: int
    gap: float
    power: float  # for each pair with this gap, not for all pairs jointly
    level: float
    test: str  # the test that `worldeval rank` will apply
    comparisons: int
    real_one_pair: int  # real trials per policy if only one pair is compared
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
        """Return all fields as plain data."""
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
    test: str = "betting",
) -> Plan:
    """Plan the trials that separate two policies with rates `rate` and `rate + gap`.

    Both policies are run from the same starts.

    The plan is made for the test that will be applied, and assumes that outcomes of two policies
    from one start are independent; if hard starts are hard for both, fewer trials are enough.
    `power` holds for each such pair; the probability of finding all of several pairs is lower.

    Args:
        rho: correlation of real and imagined outcomes from the same start; None for no imagination.
        cost_ratio: cost of a real trial divided by that of an imagined one.
        test: 'betting', which may be inspected at any time, or 'mcnemar', which may be read once.

    Raises:
        UserError: a number is out of its range, or the test is unknown.
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
    known_test(test)
    pairs = pairs_of(policies)
    one, alone = (
        trials_for(rate, rate + gap, test=test, level=level, power=power, comparisons=count)
        for count in (1, pairs)
    )
    real, imagined, share = alone, 0, 0.0
    if rho is not None:
        ratio = imagined_per_real(rho, cost_ratio)
        share = rho**2 * (ratio - 1) / ratio
        real = max(2, ceil(alone * (1 - share)))
        imagined = ceil(real * ratio)
    cost = policies * (real + imagined / cost_ratio)
    if rho is None:
        advice = (
            "This plan uses real trials only. To include imagination, give --rho as measured by "
            "`worldeval validate` on paired outcomes."
        )
    elif share == 0 or cost >= policies * alone:
        real, imagined, share, cost = alone, 0, 0.0, float(policies * alone)
        advice = (
            f"At rho = {rho:g} and this cost ratio, imagination saves nothing; use real trials "
            "only."
        )
    else:
        advice = (
            f"Imagination replaces {share:.0%} of the real trials needed for a rate of this "
            f"precision, provided that rho is {rho:g} and every real trial is also imagined from "
            "the same start. rho is the correlation within one policy and task; the correlation "
            "of policies' rates is higher and must not be used here."
        )
    return Plan(
        policies=policies,
        gap=gap,
        power=power,
        level=level,
        test=test,
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
        advice=f"The power of {power:.0%} holds for each pair that differs by {gap:g}, not for "
        f"all pairs jointly. {advice}",
    )


def known_test(test: str) -> str:
    """Return the name of a test of two policies, after checking that it exists.

    Raises:
        UserError: the test is unknown.
    """
    if test not in TESTS:
        raise UserError(
            f"Unknown --test {test}; choose one of {', '.join(TESTS)}.{did_you_mean(test, TESTS)}"
        )
    return test


def trials_for(
    first: float, second: float, *, test: str, level: float, power: float, comparisons: int
) -> int:
    """Compute the trials of each of two policies for a test, outcomes independent at each start."""
    if test == "mcnemar":
        return pairs_for_mcnemar(
            second * (1 - first),
            first * (1 - second),
            level=level,
            power=power,
            comparisons=comparisons,
        )
    return pairs_for_betting(
        second * (1 - first),
        first * (1 - second),
        level=level,
        power=power,
        comparisons=comparisons,
    )


def pairs_for_betting(
    first_only: float,
    second_only: float,
    *,
    level: float = 0.95,
    power: float = 0.8,
    comparisons: int = 1,
) -> int:
    """Compute the paired starts after which the betting test separates two policies with `power`.

    This is the `power` quantile of the start at which the test first rejects, over 2,000 simulated
    experiments (fixed seed) that are inspected about 100 times; it is within 2% in power.

    Args:
        first_only, second_only: probability that only this policy succeeds from a start.
        comparisons: number by which alpha is divided (Bonferroni, the first step of Holm).

    Raises:
        UserError: the difference is too small for this test.
    """
    gap, apart = abs(first_only - second_only), first_only + second_only
    about = pairs_to_separate(
        gap, sqrt(apart - gap**2), level=level, power=power, comparisons=comparisons
    )
    if about is None:
        raise UserError(
            f"A gap of {gap:g} is too small for the betting test: its smallest bet is meant for "
            "larger gaps, so no number of starts is enough. Use --test mcnemar, or a larger --gap."
        )
    block = max(1, about // 100)
    rng = np.random.default_rng(0)
    chances = [first_only, second_only, max(0.0, 1 - apart)]
    bound = log(2 * comparisons / (1 - level))
    counts, n = np.zeros((2000, 3), dtype=int), 0
    needed = len(counts) * (1 - power)
    while len(counts) > needed:
        counts, n = counts + rng.multinomial(block, chances, len(counts)), n + block
        counts = counts[betting.log_wealth(counts[:, 0], counts[:, 1]) < bound]
    return max(n, 2)


def pairs_to_separate(
    difference: float,
    spread: float,
    *,
    level: float = 0.95,
    power: float = 0.8,
    comparisons: int = 1,
) -> int | None:
    """Approximate the paired starts that the betting test needs to detect a mean difference.

    A bet of the fraction l gains g = l d - l^2 s^2 / 2 in log wealth per start, with standard
    deviation l s, and must reach L = log(2 / alpha): n g - z_power l s sqrt(n) = L. The best
    fraction is d / s^2, if one that small is used. Returns None if even the smallest bet loses on
    average, so that no number of starts is enough.

    Args:
        spread: standard deviation of the difference per start.
    """
    if difference == 0:
        raise ValueError("A difference of 0 cannot be detected.")
    z, target = float(scipy.stats.norm.ppf(power)), log(2 * comparisons / (1 - level))
    d, least = abs(difference), float(betting.FRACTIONS[0])
    bet = max(least, d / spread**2) if spread > 0 else 1.0
    gain, noise = bet * d - (bet * spread) ** 2 / 2, z * bet * spread
    if gain <= 0:
        return None
    return max(2, ceil(((noise + sqrt(noise**2 + 4 * gain * target)) / (2 * gain)) ** 2))


def pairs_for_mcnemar(
    first_only: float,
    second_only: float,
    *,
    level: float = 0.95,
    power: float = 0.8,
    comparisons: int = 1,
    exact: bool = True,
) -> int:
    """Compute the paired starts for which the exact McNemar test, read once, has `power`.

    All outcomes are enumerated; above 5,000 starts the normal formula is used (Connor 1987).

    Args:
        first_only, second_only: probability that only this policy succeeds from a start.
        comparisons: number by which alpha is divided (Bonferroni, the first step of Holm).
        exact: enumerate all outcomes; otherwise use the formula at any number of starts.
    """
    if first_only == second_only:
        raise ValueError("Policies with equal success rates cannot be separated.")
    alpha = (1 - level) / comparisons
    z, apart = scipy.stats.norm.ppf([1 - alpha / 2, power]), first_only + second_only
    gap = abs(first_only - second_only)
    about = ceil(((z[0] * sqrt(apart) + z[1] * sqrt(apart - gap**2)) / gap) ** 2)
    if about > LARGE or not exact:
        return about
    low, high = 1, 2
    while mcnemar_power(first_only, second_only, high, alpha=alpha) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if mcnemar_power(first_only, second_only, middle, alpha=alpha) < power:
            low = middle
        else:
            high = middle
    return high


def mcnemar_power(first_only: float, second_only: float, n: int, *, alpha: float) -> float:
    """Compute the probability that the exact two-sided McNemar test rejects after n starts."""
    apart = first_only + second_only
    discordant = np.arange(n + 1)
    chance = scipy.stats.binom.pmf(discordant, n, apart)
    some = discordant[chance > 1e-12]
    edge = _critical(some, alpha)
    share = first_only / apart
    wins = scipy.stats.binom.cdf(edge, some, share) + scipy.stats.binom.sf(
        some - edge - 1, some, share
    )
    return float(chance[some] @ np.where(edge < 0, 0.0, wins))


def _critical(discordant: Int[Array, " d"], alpha: float) -> Float[Array, " d"]:
    """Largest value of the smaller count at which the sign test rejects; -1 if there is none."""
    edge = scipy.stats.binom.ppf(alpha / 2, discordant, 0.5)
    return np.where(scipy.stats.binom.cdf(edge, discordant, 0.5) <= alpha / 2, edge, edge - 1)


def pairs_of(policies: int) -> int:
    """Return the number of pairs among this many policies."""
    return policies * (policies - 1) // 2


def imagined_per_real(rho: float, cost_ratio: float) -> float:
    """Compute the best (n + N) / n if a real trial costs as much as `cost_ratio` imagined ones.

    rho sqrt(c) / sqrt(1 - rho^2), at least 1 (imagined trials do not pay).
    """
    return max(1.0, rho * sqrt(cost_ratio) / sqrt(1 - rho**2))
