"""Verdicts on checkpoints that appear one after another, each compared with the best so far.

Looking again and again finds a difference sooner or later, also between equal policies. Two
corrections keep the probability of any wrong verdict, over the whole training, at 1 - level: the
test of a pair is a betting test, which may be looked at after every roll-out, and the pairs share
the allowed error (`allowed_error`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from worldeval.axes import Array, Float
from worldeval.stats import betting
from worldeval.stats.estimate import Estimate

Standing = Literal["first", "better", "tied", "worse"]
GRID = 400  # steps of the search for the interval of a difference; its ends are rounded outwards
METHOD = "confidence sequence, error shared by all checkpoints"


@dataclass(frozen=True, kw_only=True)
class ArrivalTest:
    """A new checkpoint compared with the best one so far."""

    verdict: Standing
    difference: Estimate  # new minus best; valid at any number of starts, for all checkpoints
    p: float  # of the betting test, valid at any number of starts, for this pair alone
    allowed: float  # `allowed_error`: p at most this separates the pair


def allowed_error(number: int, *, level: float = 0.95) -> float:
    """Return the error that the test of checkpoint `number` (2, 3, ...) may have.

    Outcomes decide which of the k - 1 checkpoints before checkpoint k is the best one, so each of
    these pairs gets the same share, (1 - level) / (k (k - 1)^2). The shares of all pairs that can
    ever arise add up to 1 - level: k - 1 pairs have 1 / (k (k - 1)) of it, which sums to 1 over
    k >= 2.
    """
    if number < 2:
        raise ValueError(f"checkpoint {number} is compared with no earlier one")
    return (1 - level) / (number * (number - 1) ** 2)


def compare_arrival(
    new: Float[Array, "n t"], best: Float[Array, "n t"], *, number: int, level: float = 0.95
) -> ArrivalTest:
    """Compare the scores of a new checkpoint with those of the best one so far.

    Args:
        new: scores in [0, 1], a row per round of one start of every task; NaN if missing.
        best: scores from the same starts with the same seeds, in the same order.
        number: which checkpoint this is, counted from 1, the first; at least 2.
        level: probability that every verdict of the whole training is right.
    """
    allowed = allowed_error(number, level=level)
    apart = new - best
    shared = apart[~np.isnan(apart).any(axis=1)]
    found = betting.paired_test(shared[None])
    p, better = float(found.p[0]), float(found.better[0])
    low, high = _between(shared, allowed=allowed)
    value = float(shared.mean()) if len(shared) else None
    if value is not None:
        low, high = min(low, value), max(high, value)
    difference = Estimate(
        value=value, low=low, high=high, level=1 - allowed, n=int(shared.size),
        clusters=int(shared.size), method=METHOD,
    )  # fmt: skip
    separated = p <= allowed
    verdict: Standing = "tied" if not separated else "better" if better > 0 else "worse"
    return ArrivalTest(verdict=verdict, difference=difference, p=p, allowed=allowed)


def _between(apart: Float[Array, "n t"], *, allowed: float) -> tuple[float, float]:
    """Compute the interval of the mean difference: the values that the test does not reject.

    It holds at any number of starts, as the test does, and leaves out 0 exactly if the pair is
    separated. Differences from another mean m are divided by 1 + |m|, so that bets stay bounded.
    """
    grid = np.linspace(-1, 1, GRID + 1)
    bets = (apart[None] - grid[:, None, None]) / (1 + np.abs(grid))[:, None, None]
    kept = np.flatnonzero(betting.paired_test(bets).p > allowed)
    first, last = (kept[0], kept[-1]) if len(kept) else (GRID // 2, GRID // 2)
    return float(grid[max(first - 1, 0)]), float(grid[min(last + 1, GRID)])


def pair_decided(rounds: Sequence[Float[Array, "_n t"]], *, number: int, level: float) -> bool:
    """Whether the scores so far of the best checkpoint and the new one separate them."""
    best, new = rounds
    n = min(len(best), len(new))
    return (
        n > 0 and compare_arrival(new[:n], best[:n], number=number, level=level).verdict != "tied"
    )
