"""Measures of agreement between predicted and real rates, over the last axis, in batches.

Everywhere S is predicted and R is real, and NaN inside this file means undefined: a correlation
with a constant is neither 0 nor 1. The functions that hand results out turn it into None.
"""

from itertools import permutations
from math import factorial

import numpy as np
import scipy

from worldeval.axes import Array, Bool, Float

TIES = 1e-12  # rates closer than rounding are equal


def pearson(predicted: Float[Array, "*b k"], real: Float[Array, "*b k"]) -> Float[Array, "*b"]:
    """Linear correlation; NaN where a side is constant."""
    s = predicted - predicted.mean(axis=-1, keepdims=True)
    r = real - real.mean(axis=-1, keepdims=True)
    constant = (np.ptp(predicted, axis=-1) < TIES) | (np.ptp(real, axis=-1) < TIES)
    scale = np.sqrt((s**2).sum(axis=-1) * (r**2).sum(axis=-1))
    return np.where(constant, np.nan, (s * r).sum(axis=-1) / np.where(constant, 1.0, scale))


def spearman(predicted: Float[Array, "*b k"], real: Float[Array, "*b k"]) -> Float[Array, "*b"]:
    """Correlation of ranks, ties sharing their mean rank; NaN where a side is constant."""
    s, r = np.broadcast_arrays(_round(predicted), _round(real))
    return pearson(scipy.stats.rankdata(s, axis=-1), scipy.stats.rankdata(r, axis=-1))


def kendall(predicted: Float[Array, "*b k"], real: Float[Array, "*b k"]) -> Float[Array, "*b"]:
    """Kendall tau-b; NaN where a side is constant."""
    s, r = np.sign(_gaps(predicted)), np.sign(_gaps(real))
    pairs = np.sqrt((s**2).sum(axis=(-2, -1)) * (r**2).sum(axis=(-2, -1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, (s * r).sum(axis=(-2, -1)) / pairs, np.nan)


def mmrv(*, predicted: Float[Array, "*b k"], real: Float[Array, "*b k"]) -> Float[Array, "*b"]:
    """Mean maximum rank violation (SIMPLER, arXiv 2405.05941).

    (1/K) sum_i max_j |R_i - R_j| 1[(S_i > S_j) != (R_i > R_j)]: for each policy, the largest *real*
    gap that the prediction turns around or misses. Keyword-only, since swapping the arguments
    gives another number.
    """
    gap_s, gap_r = _gaps(predicted), _gaps(real)
    violated = (gap_s > 0) != (gap_r > 0)
    return np.asarray(np.where(violated, np.abs(gap_r), 0.0).max(axis=-1).mean(axis=-1))


def pairwise_accuracy(
    predicted: Float[Array, "*b k"], real: Float[Array, "*b k"], *, margin: float
) -> Float[Array, "*b"]:
    """Share of pairs with a real gap above `margin` that are predicted in the right order.

    A predicted tie counts one half. NaN where no pair is that far apart.
    """
    return pairs_right(predicted, separable(real, margin=margin), real)


def separable(real: Float[Array, "*b k"], *, margin: float) -> Bool[Array, "*b k k"]:
    """Ordered pairs (i, j) where i is really better than j by more than `margin`."""
    return _gaps(real) > max(margin, TIES)


def pairs_right(
    predicted: Float[Array, "*b k"], which: Bool[Array, "*c k k"], real: Float[Array, "*b k"]
) -> Float[Array, "*b"]:
    """Share of the pairs `which` that are predicted in the order of `real`, a tie counting half."""
    order = np.sign(_gaps(predicted)) * np.sign(_gaps(real))
    which = np.broadcast_to(which, order.shape)
    total = which.sum(axis=(-2, -1))
    right = np.where(which, (1 + order) / 2, 0.0).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, right / total, np.nan)


def top_regret(
    predicted: Float[Array, "*b k"], real: Float[Array, "*b k"], *, top: int = 1
) -> Float[Array, "*b"]:
    """Real rate lost by deploying the best of the `top` predicted policies.

    max R - max R[the top k by S]. Of policies tied for the last place, the expected one is taken
    (top = 1) or the worst (top > 1): a predictor that cannot choose earns nothing by luck.
    """
    s, r = np.broadcast_arrays(_round(predicted), real)
    best = r.max(axis=-1)
    if top == 1:
        first = s == s.max(axis=-1, keepdims=True)
        return np.asarray(best - np.where(first, r, 0.0).sum(axis=-1) / first.sum(axis=-1))
    order = np.lexsort((r, -s), axis=-1)[..., : min(top, s.shape[-1])]
    return np.asarray(best - np.take_along_axis(r, order, axis=-1).max(axis=-1))


def permutation_p(predicted: Float[Array, " k"], real: Float[Array, " k"]) -> float | None:
    """Exact one-sided p-value of Spearman's rho: share of the K! orders that agree as well.

    scipy's asymptotic value is 0.0 on four concordant points; the floor here is 1/K! (without
    ties). Above 8 policies, 20,000 random orders (fixed seed, with the +1 correction).
    """
    s, r = scipy.stats.rankdata(_round(predicted)), scipy.stats.rankdata(_round(real))
    k = len(s)
    if k < 2 or np.ptp(s) == 0 or np.ptp(r) == 0:
        return None
    seen = float(s @ r) - TIES
    if k <= 8:
        orders = s[np.array(list(permutations(range(k))))]
        return float((orders @ r >= seen).sum() / factorial(k))
    orders = np.random.default_rng(0).permuted(np.tile(s, (20_000, 1)), axis=1)
    return float((1 + (orders @ r >= seen).sum()) / 20_001)


def permutation_floor(predicted: Float[Array, " k"], real: Float[Array, " k"]) -> float | None:
    """The least that `permutation_p` can be, whatever the order: 1/K! without ties.

    Three policies in the right order have p = 1/6: they can show nothing at the 5% level.
    """
    order = np.argsort(real, kind="stable")
    best = np.empty(len(real))
    best[order] = np.sort(predicted)
    return permutation_p(best, real)


def fisher_z(r: float, k: int, *, level: float) -> tuple[float, float] | None:
    """Interval of a Pearson correlation over k independent units, as a sample; None below 4."""
    if k < 4 or np.isnan(r):
        return None
    half = scipy.stats.norm.ppf((1 + level) / 2) / np.sqrt(k - 3)
    middle = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15))
    return float(np.tanh(middle - half)), float(np.tanh(middle + half))


def calibration_line(
    predicted: Float[Array, " k"], real: Float[Array, " k"]
) -> tuple[float | None, float | None]:
    """Slope and intercept of real on predicted: (1, 0) for a calibrated predictor."""
    if np.ptp(predicted) < TIES:
        return None, None
    slope, intercept = np.polyfit(predicted, real, 1)
    return float(slope), float(intercept)


def _gaps(x: Float[Array, "*b k"]) -> Float[Array, "*b k k"]:
    gap = x[..., :, None] - x[..., None, :]
    return np.where(np.abs(gap) < TIES, 0.0, gap)


def _round(x: Float[Array, "*b k"]) -> Float[Array, "*b k"]:
    """Values whose rounding errors cannot break a tie."""
    return np.round(x, 12)
