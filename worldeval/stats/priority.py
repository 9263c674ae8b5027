"""Labels of episodes that were drawn by importance, and the rate that they give without bias.

Priority sampling (Duffield, Lund and Thorup 2007, J. ACM 54, 32): item i has a weight w_i > 0 and
a uniform random number u_i, and items are taken by w_i / u_i, largest first. If the first m are
taken and tau is w / u of the next one, item i stands for 1 / min(1, w_i / tau) items. The sum of
x_i / min(1, w_i / tau) over those taken then has the expectation of the sum of x over all, for any
x and any m, and terms of different items are uncorrelated. A person may therefore stop anywhere,
provided that the labels do not decide where.
"""

from collections.abc import Sequence

import numpy as np
import scipy

from worldeval.axes import Array, Float, Int
from worldeval.stats.estimate import Estimate

PRIOR = 2.0  # imagined labels, each off by a half, that widen the interval


def by_priority(weight: Float[Array, " n"], uniform: Float[Array, " n"]) -> Int[Array, " n"]:
    """Return the order in which items are taken."""
    return np.argsort(-weight / uniform, kind="stable")


def chances(
    weight: Float[Array, " n"], uniform: Float[Array, " n"], taken: int
) -> Float[Array, " taken"]:
    """Return the inclusion probabilities of the first `taken` items, in the order of priority."""
    order = by_priority(weight, uniform)
    if taken >= len(order):
        return np.ones(len(order))
    following = order[taken]
    return np.minimum(1.0, weight[order[:taken]] * uniform[following] / weight[following])


def corrected_rate(
    real: Sequence[float] | Float[Array, " m"],
    judged: Float[Array, " m"],
    chance: Float[Array, " m"],
    everything: Float[Array, " n"],
    *,
    level: float = 0.95,
) -> Estimate:
    """Estimate a rate from labels that were drawn with known probabilities.

    theta = mean(F) + (1 / N) sum (Y_i - F_i) / pi_i (prediction-powered inference with inverse
    probabilities; Zrnic and Candes 2024, "Active statistical inference"). It is unbiased however
    wrong the judge is, before it is clipped to [0, 1]. The interval is by Student's t, for the
    episodes as a sample of all starts. Unlike the paper's, it is widened by imagined labels that
    are off by a half, because a few labels without an error do not rule errors out.

    Args:
        real: outcomes of the labelled episodes, 0 to 1.
        judged: the judge's probabilities of the same episodes.
        chance: probability with which each was drawn.
        everything: the judge's probabilities of all N episodes, the labelled ones included.
    """
    said, total = np.asarray(real, float), len(everything)
    residual, n = said - judged, len(said)
    value = float(np.clip(everything.mean() + (residual / chance).sum() / total, 0, 1))
    variance = ((1 - chance) * (residual / chance) ** 2).sum()
    if n:
        variance += PRIOR * 0.25 * ((1 - chance) / chance**2).mean()
    variance = variance / total**2 + value * (1 - value) / total
    half = float(scipy.stats.t.ppf((1 + level) / 2, max(n - 1, 1)) * np.sqrt(variance))
    return Estimate(
        value=value,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        level=level,
        n=n,
        clusters=n,
        method="prediction-powered, inverse probability",
    )
