"""Prediction-powered inference: a rate from few real trials and many imagined ones.

The data are n pairs (Y real, F imagined from the same start) and N imagined trials alone. The
imagined mean is corrected by its error on the pairs, so that a wrong imagination widens the
interval but adds no bias.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.stats import betting, findings
from worldeval.stats.estimate import Estimate
from worldeval.stats.findings import Finding
from worldeval.stats.rates import rate, wilson_bounds

FEWEST = 4  # minimum number of pairs for a correlation


@dataclass(frozen=True, kw_only=True)
class Combined:
    """Real success rate estimated from real and imagined trials."""

    estimate: Estimate
    rho: float | None  # correlation of real and imagined outcomes over the pairs
    # 1 - (width / width from real trials alone)^2: the share saved of the real trials that an
    # interval of this width would have needed. Below 0 if imagination widened it, 0 if unused.
    share_saved: float
    trials_saved: float  # additional real trials that an interval of this width would have needed
    findings: tuple[Finding, ...]


def combine(
    real: Float[Array, " n"],
    paired: Float[Array, " p"],
    imagined: Float[Array, " m"],
    *,
    level: float = 0.95,
) -> Combined:
    """Estimate the real success rate from n paired starts and N imagined ones (values in [0, 1]).

    If both sides are binary, the estimate is post-stratified with the MOVER-Wilson interval;
    otherwise it is a betting interval of the corrected scores. If imagination correlates too
    weakly to help (rho <= 1 / sqrt(n - 2)), or there are no further imagined trials, only the real
    trials are used.

    Raises:
        UserError: real and paired differ in length, or a value is outside [0, 1].
    """
    n, more = len(real), len(imagined)
    if n != len(paired):
        raise UserError(
            f"There are {n} real outcomes but {len(paired)} paired imagined ones. Give exactly one "
            "imagined outcome for each real one."
        )
    everything = np.concatenate([real, paired, imagined])
    if not ((everything >= 0) & (everything <= 1)).all():
        raise UserError("Outcomes must be between 0 and 1, but some are outside this range.")
    rho = correlation(real, paired)
    refused = findings.imagination_unhelpful(rho, n)
    binary = bool(np.isin(everything, (0.0, 1.0)).all())
    if refused or more == 0 or rho is None:
        return Combined(
            estimate=_alone(real, level=level),
            rho=rho,
            share_saved=0.0,
            trials_saved=0.0,
            findings=tuple(refused),
        )
    found = (post_stratified if binary else betting_rate)(real, paired, imagined, level=level)
    alone = _alone(real, level=level)
    wide, narrow = alone.width or 0.0, max(found.width or 0.0, 1e-9)
    return Combined(
        estimate=found,
        rho=rho,
        share_saved=1 - (narrow / wide) ** 2 if wide else 0.0,
        trials_saved=n * ((wide / narrow) ** 2 - 1),
        findings=(),
    )


def _alone(real: Float[Array, " n"], *, level: float) -> Estimate:
    if bool(np.isin(real, (0.0, 1.0)).all()):
        return rate(int(real.sum()), len(real), level=level)
    return betting.mean_score(real, level=level)


def correlation(real: Float[Array, " n"], paired: Float[Array, " n"]) -> float | None:
    """Compute Pearson's r over the pairs; None if a side is constant or there are too few pairs."""
    if len(real) < FEWEST or np.ptp(real) == 0 or np.ptp(paired) == 0:
        return None
    return float(np.corrcoef(real, paired)[0, 1])


def ppi_plus_plus(
    real: Float[Array, " n"],
    paired: Float[Array, " n"],
    imagined: Float[Array, " m"],
    *,
    level: float = 0.95,
) -> Estimate:
    """Estimate a rate by PPI++ with its normal interval (arXiv 2311.01453).

    theta = lam mean(F~) + mean(Y) - lam mean(F); lam = Cov(Y, F) / ((1 + n/N) Var F), in [0, 1].
    Valid for large n only: at a true rate of .97 and n = 20 it covers less than half the time. Use
    `combine` instead.
    """
    n, more = len(real), len(imagined)
    spread = float(np.var(paired, ddof=1))
    lam = 0.0
    if spread > 0:
        shared = float(np.cov(real, paired)[0, 1])
        lam = float(np.clip(shared / ((1 + n / more) * spread), 0, 1))
    value = lam * float(imagined.mean()) + float((real - lam * paired).mean())
    variance = lam**2 * float(np.var(imagined, ddof=1)) / more
    variance += float(np.var(real - lam * paired, ddof=1)) / n
    half = float(scipy.stats.norm.ppf((1 + level) / 2)) * sqrt(variance)
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        level=level,
        n=n,
        clusters=n,
        method="PPI++",
    )


def post_stratified(
    real: Float[Array, " n"],
    paired: Float[Array, " n"],
    imagined: Float[Array, " m"],
    *,
    level: float = 0.95,
) -> Estimate:
    """Estimate a rate by post-stratification on the imagined outcome, with MOVER-Wilson interval.

    This is PPI++ for binary outcomes: theta = w p1 + (1 - w) p0, where p_s is the real rate among
    pairs imagined as s and w the imagined rate over all starts.
    """
    hits = [np.array(float(real[paired == s].sum())) for s in (0, 1)]
    pairs = [np.array(float((paired == s).sum())) for s in (0, 1)]
    total = len(paired) + len(imagined)
    share = np.array((paired.sum() + imagined.sum()) / total)
    value, low, high = mover_wilson(
        hits[1], pairs[1], hits[0], pairs[0], share, total=total, level=level
    )
    return Estimate(
        value=float(value),
        low=float(low),
        high=float(high),
        level=level,
        n=len(real),
        clusters=len(real),
        method="post-stratified, MOVER-Wilson",
    )


def mover_wilson(
    hits1: Float[Array, "*b"],
    pairs1: Float[Array, "*b"],
    hits0: Float[Array, "*b"],
    pairs0: Float[Array, "*b"],
    share: Float[Array, "*b"],
    *,
    total: int,
    level: float = 0.95,
) -> tuple[Float[Array, "*b"], Float[Array, "*b"], Float[Array, "*b"]]:
    """Compute value and interval of the post-stratified rate from counts, in batches.

    theta -+ sqrt(sum_s w_s^2 (p_s - bound_s)^2 + z^2 (p1 - p0)^2 w (1 - w) / (n + N)), with
    Wilson's bounds. A stratum without pairs has the interval [0, 1] and the value 1/2.

    One failure in each stratum puts both bounds close to 1, and the formula alone then covers .914
    at p = .97, n = 20. The result is therefore its hull with Wilson's interval of the whole rate,
    for the number of trials that has the same variance.
    """
    z2 = scipy.stats.norm.ppf((1 + level) / 2) ** 2
    p1, p0 = (
        np.where(pairs > 0, hits / np.maximum(pairs, 1), 0.5)
        for hits, pairs in ((hits1, pairs1), (hits0, pairs0))
    )
    (low1, high1), (low0, high0) = (
        wilson_bounds(hits, pairs, level=level)
        for hits, pairs in ((hits1, pairs1), (hits0, pairs0))
    )
    value = share * p1 + (1 - share) * p0
    mixing = z2 * (p1 - p0) ** 2 * share * (1 - share) / total
    down = (share * (p1 - low1)) ** 2 + ((1 - share) * (p0 - low0)) ** 2 + mixing
    up = (share * (high1 - p1)) ** 2 + ((1 - share) * (high0 - p0)) ** 2 + mixing
    low, high = np.maximum(value - np.sqrt(down), 0.0), np.minimum(value + np.sqrt(up), 1.0)
    variance = share**2 * p1 * (1 - p1) / np.maximum(pairs1, 1)
    variance = variance + (1 - share) ** 2 * p0 * (1 - p0) / np.maximum(pairs0, 1) + mixing / z2
    known = variance > 0
    trials = np.where(known, value * (1 - value) / np.where(known, variance, 1.0), 1.0)
    whole = wilson_bounds(np.asarray(value * trials), trials, level=level)
    low = np.where(known, np.minimum(low, whole[0]), low)
    high = np.where(known, np.maximum(high, whole[1]), high)
    return np.asarray(value), low, high


def betting_rate(
    real: Float[Array, " n"],
    paired: Float[Array, " n"],
    imagined: Float[Array, " m"],
    *,
    level: float = 0.95,
) -> Estimate:
    """Estimate the corrected mean of graded scores with a betting interval, valid at any n.

    The scores x_i = Y_i - lam_i (F_i - mean F~), with lam_i from the pairs before i, have the real
    mean up to the error of mean F~. The bounds are widened by the interval of mean F~, which takes
    a fifth of alpha. The scores lie in [mean F~ - 1, mean F~ + 1].
    """
    alpha = 1 - level
    centre = float(imagined.mean())
    below, above = betting.mean_bounds(imagined[None], level=1 - alpha / 5)
    slack = float(max(centre - below[0], above[0] - centre))
    lam = _predictable_slope(real, paired, more=len(imagined))
    x = real - lam * (paired - centre)
    low, high = betting.mean_bounds(((x + 1 - centre) / 2)[None], level=1 - 4 * alpha / 5)
    value = float(np.clip(x.mean(), 0, 1))
    widest = float(lam.max(initial=0.0)) * slack
    bounds = (2 * b - (1 - centre) for b in (float(low[0]), float(high[0])))
    lower, upper = next(bounds) - widest, next(bounds) + widest
    return Estimate(
        value=value,
        low=min(max(lower, 0.0), value),
        high=max(min(upper, 1.0), value),
        level=level,
        n=len(real),
        clusters=len(real),
        method="prediction-powered betting",
    )


def _predictable_slope(
    real: Float[Array, " n"], paired: Float[Array, " n"], *, more: int
) -> Float[Array, " n"]:
    """PPI++'s lam for each pair, computed from the earlier pairs; 0 while there are too few."""
    lam = np.zeros(len(real))
    for i in range(FEWEST, len(real)):
        spread = float(np.var(paired[:i], ddof=1))
        if spread > 0:
            shared = float(np.cov(real[:i], paired[:i])[0, 1])
            lam[i] = np.clip(shared / ((1 + i / more) * spread), 0, 1)
    return lam
