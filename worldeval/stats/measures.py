"""Measures of agreement between predicted and measured rates, over the last axis, in batches.

S is predicted and R is measured throughout (`real` in argument names). NaN means undefined inside
this file, because a correlation with a constant is neither 0 nor 1; functions that return results
to a user turn it into None.
"""

from itertools import permutations
from math import factorial

import numpy as np
import scipy

from worldeval.axes import Array, Bool, Float

TIES = 1e-12  # rates that differ by less than rounding are equal


def pearson(predicted: Float[Array, "*b k"], real: Float[Array, "*b k"]) -> Float[Array, "*b"]:
    """Compute the linear correlation; NaN if one side is constant."""
    s = predicted - predicted.mean(axis=-1, keepdims=True)
    r = real - real.mean(axis=-1, keepdims=True)
    constant = (np.ptp(predicted, axis=-1) < TIES) | (np.ptp(real, axis=-1) < TIES)
    scale = np.sqrt((s**2).sum(axis=-1) * (r**2).sum(axis=-1))
    return np.where(constant, np.nan, (s * r).sum(axis=-1) / np.where(constant, 1.0, scale))


def spearman(predicted: Float[Array, "*b k"], real: Float[Array, "*b k"]) -> Float[Array, "*b"]:
    """Compute the rank correlation, ties sharing their mean rank; NaN if one side is constant."""
    s, r = np.broadcast_arrays(_round(predicted), _round(real))
    return pearson(_ranks(s), _ranks(r))


def kendall(predicted: Float[Array, "*b k"], real: Float[Array, "*b k"]) -> Float[Array, "*b"]:
    """Compute Kendall's tau-b; NaN if one side is constant."""
    s, r = np.sign(_gaps(predicted)), np.sign(_gaps(real))
    pairs = np.sqrt((s**2).sum(axis=(-2, -1)) * (r**2).sum(axis=(-2, -1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, (s * r).sum(axis=(-2, -1)) / pairs, np.nan)


def mmrv(*, predicted: Float[Array, "*b k"], real: Float[Array, "*b k"]) -> Float[Array, "*b"]:
    """Compute the mean maximum rank violation (SIMPLER, arXiv 2405.05941).

    (1/K) sum_i max_j |R_i - R_j| 1[(S_i > S_j) != (R_i > R_j)]: for each policy, the largest
    *measured* gap that the prediction reverses or misses. Arguments are keyword-only, because
    swapping them gives a different number.
    """
    gap_s, gap_r = _gaps(predicted), _gaps(real)
    violated = (gap_s > 0) != (gap_r > 0)
    return np.asarray(np.where(violated, np.abs(gap_r), 0.0).max(axis=-1).mean(axis=-1))


def pairwise_accuracy(
    predicted: Float[Array, "*b k"], real: Float[Array, "*b k"], *, margin: float
) -> Float[Array, "*b"]:
    """Compute the share of pairs with a measured gap above `margin` that are ordered correctly.

    A predicted tie counts one half. NaN if no pair has such a gap.
    """
    return pairs_right(predicted, separable(real, margin=margin), real)


def separable(real: Float[Array, "*b k"], *, margin: float) -> Bool[Array, "*b k k"]:
    """Return the ordered pairs (i, j) in which i is better than j by more than `margin`."""
    return _gaps(real) > max(margin, TIES)


def pairs_right(
    predicted: Float[Array, "*b k"], which: Bool[Array, "*c k k"], real: Float[Array, "*b k"]
) -> Float[Array, "*b"]:
    """Compute the share of pairs `which` ordered correctly; a predicted tie counts one half."""
    order = np.sign(_gaps(predicted)) * np.sign(_gaps(real))
    which = np.broadcast_to(which, order.shape)
    total = which.sum(axis=(-2, -1))
    right = np.where(which, (1 + order) / 2, 0.0).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, right / total, np.nan)


def top_regret(
    predicted: Float[Array, "*b k"], real: Float[Array, "*b k"], *, top: int = 1
) -> Float[Array, "*b"]:
    """Compute the rate lost by deploying the best of the `top` policies by prediction.

    max R - max R[the top k by S]. If policies are tied for the last place, the average (top = 1)
    or the worst of them (top > 1) is taken, so that a predictor gains nothing by luck.
    """
    s, r = np.broadcast_arrays(_round(predicted), real)
    best = r.max(axis=-1)
    if top == 1:
        first = s == s.max(axis=-1, keepdims=True)
        return np.asarray(best - np.where(first, r, 0.0).sum(axis=-1) / first.sum(axis=-1))
    order = np.lexsort((r, -s), axis=-1)[..., : min(top, s.shape[-1])]
    return np.asarray(best - np.take_along_axis(r, order, axis=-1).max(axis=-1))


def permutation_p(predicted: Float[Array, " k"], real: Float[Array, " k"]) -> float | None:
    """Compute the exact one-sided p-value of Spearman's rho: share of orders that agree as well.

    All K! orders are enumerated up to 8 policies; above that, 20,000 random orders are drawn (fixed
    seed, with the +1 correction). The smallest possible value is 1/K! without ties, whereas scipy's
    asymptotic value is 0.0 for four concordant points.
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
    """Compute the smallest value that `permutation_p` can have for any order: 1/K! without ties.

    Three policies in the correct order have p = 1/6, so they cannot be significant at the 5% level.
    """
    order = np.argsort(real, kind="stable")
    best = np.empty(len(real))
    best[order] = np.sort(predicted)
    return permutation_p(best, real)


def fisher_z(r: float, k: int, *, level: float) -> tuple[float, float] | None:
    """Compute the Fisher z interval of a Pearson correlation over k units; None if k < 4.

    The units must be independent and are treated as a sample.
    """
    if k < 4 or np.isnan(r):
        return None
    half = scipy.special.ndtri((1 + level) / 2) / np.sqrt(k - 3)
    middle = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15))
    return float(np.tanh(middle - half)), float(np.tanh(middle + half))


def calibration_line(
    predicted: Float[Array, " k"], real: Float[Array, " k"]
) -> tuple[float | None, float | None]:
    """Fit slope and intercept of measured on predicted rates: (1, 0) for a calibrated predictor."""
    if np.ptp(predicted) < TIES:
        return None, None
    slope, intercept = np.polyfit(predicted, real, 1)
    return float(slope), float(intercept)


def _gaps(x: Float[Array, "*b k"]) -> Float[Array, "*b k k"]:
    gap = x[..., :, None] - x[..., None, :]
    return np.where(np.abs(gap) < TIES, 0.0, gap)


def _round(x: Float[Array, "*b k"]) -> Float[Array, "*b k"]:
    """Round values so that rounding errors cannot break ties."""
    return np.round(x, 12)


def _ranks(values: Float[Array, "*_b n"]) -> Float[Array, "*_b n"]:
    """Rank the last axis from 1, ties at their mean, without scipy.stats in the case of one row:
    reports need nothing else of it, and it takes most of the time to load."""
    if values.ndim > 1:
        return scipy.stats.rankdata(values, axis=-1)
    ordered = np.sort(values)
    left, right = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (left + right + 1) / 2
