"""Tests and intervals by betting, which stay valid however often the data are inspected.

A bettor who starts with a wealth of 1 and wagers on each next outcome cannot expect to gain if the
hypothesis is true: the wealth ever reaches 1/alpha with probability at most alpha (Ville's
inequality).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from worldeval.axes import Array, Bool, Float, Int
from worldeval.stats.estimate import Estimate

# Wagered fractions of the wealth. The wealth is averaged over them, so none has to be chosen.
FRACTIONS = np.linspace(0.05, 0.95, 19)
CAUTION = 0.5  # largest share of the wealth that one outcome can lose
GRID = 500  # points of a confidence sequence's search


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Paired test after each round; rejecting at any round keeps the error rate at alpha."""

    log_wealth: Float[Array, "b n"]  # of the better of the two bets, after each round
    p: Float[Array, " b"]  # anytime-valid p-value after all rounds
    better: Float[Array, " b"]  # the bet that gained most: +1 the first policy, -1 the second

    def rejected(self, alpha: float) -> Bool[Array, " b"]:
        """Return whether the wealth ever reached 2 / alpha (two bets, one per direction)."""
        return self.log_wealth.max(axis=1, initial=-np.inf) >= np.log(2 / alpha)


def paired_test(differences: Float[Array, "b n *t"]) -> PairedTest:
    """Test that paired differences in [-1, 1] have mean 0, for a batch of pairs of policies.

    K+ and K- are the mean over lambda of prod(1 +- lambda D_i). The wealth is the larger of the
    two, and the hypothesis is rejected when it reaches 2 / alpha.

    Args:
        differences: first minus second, in the order of observation; NaN if either is missing.
            With several tasks, a round is one start of each (last axis). Tasks may differ in
            opposite directions while their mean is 0, and prod_t (1 + lambda d_t) <=
            (1 + lambda mean d)^t = 1 (AM-GM) keeps the error rate at the end of every round. A
            round that lacks a task is excluded, because the rest of it has another mean.
    """
    bets = np.nan_to_num(_rounds(differences))
    best = np.full((2, *bets.shape[:2]), -np.inf)
    for side, sign in enumerate((1.0, -1.0)):
        for fraction in FRACTIONS:
            gain = np.cumsum(np.log1p(sign * fraction * bets).sum(axis=2), axis=1)
            np.logaddexp(best[side], gain, out=best[side])
    best -= np.log(len(FRACTIONS))
    wealth = best.max(axis=0)
    if wealth.shape[1] == 0:
        none = np.zeros(len(bets))
        return PairedTest(log_wealth=wealth, p=none + 1, better=none)
    return PairedTest(
        log_wealth=wealth,
        p=np.minimum(1.0, 2 * np.exp(-wealth.max(axis=1))),
        better=np.sign(best[0, :, -1] - best[1, :, -1]),
    )


def log_wealth(won: Int[Array, " b"], lost: Int[Array, " b"]) -> Float[Array, " b"]:
    """Log wealth of the better bet of `paired_test`, from counts of differences of +1 and -1."""
    more, fewer = np.maximum(won, lost), np.minimum(won, lost)
    gain = np.outer(more, np.log1p(FRACTIONS)) + np.outer(fewer, np.log1p(-FRACTIONS))
    return scipy.special.logsumexp(gain, axis=1) - np.log(len(FRACTIONS))


def sequence(
    values: Float[Array, "b n *t"], *, level: float = 0.95
) -> tuple[Float[Array, "b n"], Float[Array, "b n"]]:
    """Compute a confidence sequence of the mean of values in [0, 1]: bounds after each round.

    Hedged capital with predictable plug-in bets (Waudby-Smith and Ramdas, JRSS-B 2024). All bounds
    hold together with probability `level`, whatever the distribution.

    Args:
        values: in the order of observation; NaN if missing. With several tasks, a round is one
            start of each (last axis), and the mean is taken over tasks. A round that lacks a task
            is excluded, because the rest of it has another mean.
    """
    return _bounds(_rounds(values), level=level, fixed=False, last=False)


def sequence_end(
    values: Float[Array, "b n *t"], *, level: float = 0.95
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Compute only the last bounds of `sequence`, thirty times faster."""
    low, high = _bounds(_rounds(values), level=level, fixed=False, last=True)
    return low[:, -1], high[:, -1]


def mean_bounds(
    values: Float[Array, "b n *t"], *, level: float = 0.95
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Compute an interval of the mean of values in [0, 1] for a number of trials fixed in advance.

    It is narrower than `sequence`, but its coverage holds at the end only.
    """
    low, high = _bounds(_rounds(values), level=level, fixed=True, last=True)
    return low[:, -1], high[:, -1]


def mean_score(
    means: Float[Array, "n *t"], *, trials: int | None = None, level: float = 0.95
) -> Estimate:
    """Estimate the mean of graded scores or probabilities, one per start (one column per task).

    The number of starts must be fixed in advance, as for `mean_bounds`.
    """
    n = int((~np.isnan(means)).sum())
    low, high = mean_bounds(means[None], level=level)
    value = float(np.nanmean(means)) if n else None
    return Estimate(
        value=value,
        low=float(low[0]) if value is None else min(float(low[0]), value),
        high=float(high[0]) if value is None else max(float(high[0]), value),
        level=level,
        n=n if trials is None else trials,
        clusters=n,
        method="betting",
    )


def _rounds(values: Float[Array, "b n *t"]) -> Float[Array, "b n t"]:
    """Keep the rounds that have every task, and mask the others."""
    values = np.asarray(values, dtype=float)
    values = values if values.ndim == 3 else values.reshape(*values.shape, 1)
    return np.where(np.isnan(values).any(axis=2, keepdims=True), np.nan, values)


def _bounds(
    values: Float[Array, "b n t"], *, level: float, fixed: bool, last: bool
) -> tuple[Float[Array, "b m"], Float[Array, "b m"]]:
    batch, n, _ = values.shape
    if n == 0:
        return np.zeros((batch, 1)), np.ones((batch, 1))
    present = ~np.isnan(values)
    x, bound = np.where(present, values, 0.0), np.log(2 / (1 - level))
    wager, mean = _wagers(x, present, level=level, fixed=fixed)

    def excluded(m: Float[Array, "b 1"], sign: float) -> Bool[Array, "b n"]:
        """Return whether the bet on a mean above m (sign 1) or below it (sign -1) has paid."""
        room = m if sign > 0 else 1 - m
        step = np.where(present, x - m[..., None], 0.0)
        size = sign * np.minimum(wager, CAUTION / np.maximum(room, 1e-12))
        gain = np.log1p(size[..., None] * step).sum(axis=2)
        if fixed:
            return gain.sum(axis=1, keepdims=True) >= bound
        wealth = np.cumsum(gain, axis=1)
        if last:
            return wealth.max(axis=1, keepdims=True) >= bound
        return np.maximum.accumulate(wealth, axis=1) >= bound

    # The bet on "above m" pays less as m grows and the bet on "below m" pays more, so the values
    # that neither excludes form an interval. Both searches stop outside it: a coarse grid only
    # widens it.
    search = _bisect if last else _scan
    low = search(lambda m: excluded(m, 1.0), batch)
    high = 1 - search(lambda m: excluded(1 - m, -1.0), batch)
    # Bounds cross only if the data violate the model (or once in 1 / alpha times).
    middle = mean[:, -1:] if last else mean
    crossed = low > high
    return np.where(crossed, middle, low), np.where(crossed, middle, high)


def _bisect(excluded: Callable[[Array], Array], batch: int) -> Float[Array, "b 1"]:
    """Largest m below which every value is excluded, to a precision of 2^-16."""
    low, high = np.zeros((batch, 1)), np.ones((batch, 1))
    for _ in range(16):
        middle = (low + high) / 2
        out = excluded(middle)
        low, high = np.where(out, middle, low), np.where(out, high, middle)
    return low


def _scan(excluded: Callable[[Array], Array], batch: int) -> Float[Array, "b n"]:
    """Largest excluded grid point after each round."""
    grid = np.linspace(0, 1, GRID + 1)[:-1]
    low = np.zeros((batch, 1))
    for m in grid:
        low = np.where(excluded(np.full((batch, 1), m)), m, low)
    return low


def _wagers(
    x: Float[Array, "b n t"], present: Bool[Array, "b n t"], *, level: float, fixed: bool
) -> tuple[Float[Array, "b n"], Float[Array, "b n"]]:
    """Wagers lambda = sqrt(2 log(2/alpha) / (s^2 i log(i+1))), with s^2 of the earlier rounds.

    Returns the wagers and the running mean.
    """
    count = np.cumsum(present.sum(axis=2), axis=1)
    mean = (0.5 + np.cumsum(x.sum(axis=2), axis=1)) / (count + 1)
    squares = np.where(present, (x - mean[..., None]) ** 2, 0.0).sum(axis=2)
    spread = (0.25 + np.cumsum(squares, axis=1)) / (count + 1)
    before = np.concatenate([np.full((len(x), 1), 0.25), spread[:, :-1]], axis=1)
    time = count[:, -1:] if fixed else count * np.log(count + 1)
    return np.sqrt(2 * np.log(2 / (1 - level)) / (before * np.maximum(time, 1))), mean
