"""Betting: the mean of bounded outcomes, and paired comparison, valid however often one looks.

A bettor who starts with 1 and wagers on each next outcome cannot expect to gain if the hypothesis
is true; wealth of 1/alpha has probability at most alpha, at any time (Ville's inequality).
"""

from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Bool, Float
from worldeval.stats.estimate import Estimate

# Fractions of the wealth that are wagered; the wealth is their average, so none must be chosen.
FRACTIONS = np.linspace(0.05, 0.95, 19)
GRID = 500


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Result of the paired test after each round. Rejecting at any round keeps the error at alpha."""

    log_wealth: Float[Array, "b n"]  # of the better of the two bets, after each round
    p: Float[Array, " b"]  # anytime-valid p-value after all rounds
    better: Float[Array, " b"]  # the bet that gained most: +1 the first policy, -1 the second

    def rejected(self, alpha: float) -> Bool[Array, " b"]:
        """Whether the wealth ever reached 2 / alpha (two bets: one per direction)."""
        return self.log_wealth.max(axis=1, initial=-np.inf) >= np.log(2 / alpha)


def paired_test(differences: Float[Array, "b n *t"]) -> PairedTest:
    """Test that paired differences in [-1, 1] have mean 0, for a batch of pairs of policies.

    K+ and K- are the mean over lambda of prod(1 +- lambda D_i); the wealth is the larger, and the
    hypothesis falls when it reaches 2 / alpha.

    Args:
        differences: first minus second, in the order of observation, NaN where not both exist.
            With several tasks, a round is one start of each (last axis): tasks may differ in
            opposite ways while the mean over them is 0, and prod_t (1 + lambda d_t) <=
            (1 + lambda mean d)^t = 1 (AM-GM) keeps the error at the end of every round.
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


def sequence(
    values: Float[Array, "b n *t"], *, level: float = 0.95
) -> tuple[Float[Array, "b n"], Float[Array, "b n"]]:
    """Confidence sequence of the mean of values in [0, 1]: bounds after each round.

    Hedged capital with predictable plug-in bets (Waudby-Smith and Ramdas, JRSS-B 2024). All bounds
    hold together with probability `level`, whatever the distribution.

    Args:
        values: in the order of observation, NaN where missing. With several tasks, a round is one
            start of each (last axis), and the mean is that over tasks.
    """
    return _bounds(_rounds(values), level=level, fixed=False)


def mean_bounds(
    values: Float[Array, "b n *t"], *, level: float = 0.95
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Interval of the mean of values in [0, 1], read once, at an n fixed beforehand.

    As `sequence`, narrower, with the same promise at the end only.
    """
    low, high = _bounds(_rounds(values), level=level, fixed=True)
    return low[:, -1], high[:, -1]


def mean_score(
    means: Float[Array, "n *t"], *, trials: int | None = None, level: float = 0.95
) -> Estimate:
    """Mean of graded scores or probabilities, one per start (a column per task), read once."""
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
    values = np.asarray(values, dtype=float)
    return values if values.ndim == 3 else values.reshape(*values.shape, 1)


def _bounds(
    values: Float[Array, "b n t"], *, level: float, fixed: bool
) -> tuple[Float[Array, "b n"], Float[Array, "b n"]]:
    batch, n, _ = values.shape
    if n == 0:
        return np.zeros((batch, 1)), np.ones((batch, 1))
    present = ~np.isnan(values)
    x, bound = np.where(present, values, 0.0), np.log(2 / (1 - level))
    wager, mean = _wagers(x, present, level=level, fixed=fixed)
    steps = 1 if fixed else n
    lows, highs = np.ones((batch, steps)), np.zeros((batch, steps))
    for m in np.linspace(0, 1, GRID + 1):
        up = np.minimum(wager, 0.5 / max(m, 1e-12))
        down = np.minimum(wager, 0.5 / max(1 - m, 1e-12))
        step = np.where(present, x - m, 0.0)
        gain = np.log1p(up[..., None] * step).sum(axis=2)
        loss = np.log1p(-down[..., None] * step).sum(axis=2)
        if fixed:
            wealth = np.maximum(gain.sum(1, keepdims=True), loss.sum(1, keepdims=True))
        else:
            wealth = np.maximum(np.cumsum(gain, axis=1), np.cumsum(loss, axis=1))
            wealth = np.maximum.accumulate(wealth, axis=1)  # once excluded, always excluded
        kept = wealth < bound
        lows = np.where(kept & (lows > m), m, lows)
        highs = np.where(kept & (highs < m), m, highs)
    # What is kept lies between grid points that are not: the outer ones are the bounds, so that
    # a coarse grid only widens. If none is kept, the interval hides between two of them.
    middle = mean[:, -1:] if fixed else mean
    hidden = lows > highs
    lows, highs = np.where(hidden, middle, lows), np.where(hidden, middle, highs)
    return np.clip(lows - 1 / GRID, 0, 1), np.clip(highs + 1 / GRID, 0, 1)


def _wagers(
    x: Float[Array, "b n t"], present: Bool[Array, "b n t"], *, level: float, fixed: bool
) -> tuple[Float[Array, "b n"], Float[Array, "b n"]]:
    """lambda = sqrt(2 log(2/alpha) / (s^2 i log(i+1))) per round, s^2 of the rounds before it.

    Returns the wagers and the running mean.
    """
    count = np.cumsum(present.sum(axis=2), axis=1)
    mean = (0.5 + np.cumsum(x.sum(axis=2), axis=1)) / (count + 1)
    squares = np.where(present, (x - mean[..., None]) ** 2, 0.0).sum(axis=2)
    spread = (0.25 + np.cumsum(squares, axis=1)) / (count + 1)
    before = np.concatenate([np.full((len(x), 1), 0.25), spread[:, :-1]], axis=1)
    time = count[:, -1:] if fixed else count * np.log(count + 1)
    return np.sqrt(2 * np.log(2 / (1 - level)) / (before * np.maximum(time, 1))), mean
