"""Paired comparison of policies that were run from the same starts."""

from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import scipy

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.stats import betting
from worldeval.stats.estimate import Estimate, undefined
from worldeval.stats.letters import holm
from worldeval.stats.plan import known_test, pairs_for_mcnemar, pairs_to_separate
from worldeval.stats.units import Units

BATCH = 256  # pairs per batch; limits memory and does not affect results
HALF = 0.5  # probability of success above which a start counts as a success to McNemar's test


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Comparison of two policies over the starts they share."""

    first: str
    second: str
    difference: Estimate  # first minus second; simultaneous over all pairs (Bonferroni)
    # p-value of the chosen test. The betting test may be inspected after every round of starts;
    # McNemar's only once, after a number of starts fixed in advance.
    p: float
    p_holm: float  # adjusted over all pairs
    p_mcnemar: float | None  # exact, for binary outcomes; unadjusted, valid for a single look
    separated: bool  # p_holm <= 1 - level
    needed: int | None  # starts that would separate them if the true difference is as observed
    # If the worth of imagined rates is known: the probability that the first policy is truly
    # better, and the trials of each that would separate the pair if no number of imagined starts
    # can.
    order: float | None = None
    needed_trials: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all fields, the interval as value, low, high; the true order only if known."""
        fields = asdict(self) | {"difference": self.difference.to_json()}
        if self.order is None:
            del fields["order"], fields["needed_trials"]
        return fields


def mcnemar(first_only: int, second_only: int) -> float:
    """Compute the exact two-sided McNemar p-value from starts with one success each."""
    if first_only + second_only == 0:
        return 1.0
    return float(scipy.stats.binomtest(first_only, first_only + second_only, 0.5).pvalue)


def compare_all(
    units: Units, *, level: float = 0.95, power: float = 0.8, test: str = "betting"
) -> list[Comparison]:
    """Compare every pair of policies in the order of `units.policies`, with Holm over all pairs.

    Tasks have equal weight. A pair without a shared start on every task is not compared (p = 1).

    Args:
        test: 'betting', which keeps its error rate however often the data are inspected, or
            'mcnemar' (exact), which needs fewer starts (a third fewer for .5 against .6) but may be
            read only once, after a number of starts fixed in advance. Choose the test before
            looking at the outcomes. McNemar's test counts scores above one half as successes.
            Intervals of differences come from the betting test in both cases, so they may contain
            0 for a pair that McNemar's test separates.

    Raises:
        UserError: McNemar's test cannot be applied, because starts were run several times or tasks
            have unequal numbers of shared starts.
    """
    if known_test(test) == "mcnemar":
        units = _verdicts(units)
    pairs = list(combinations(range(len(units.policies)), 2))
    if not pairs:
        return []
    tests = []
    simultaneous = 1 - (1 - level) / len(pairs)
    for begin in range(0, len(pairs), BATCH):
        batch = pairs[begin : begin + BATCH]
        first, second = (units.mean[[pair[side] for pair in batch]] for side in (0, 1))
        rounds = differences_by_round(first - second)
        low, high = betting.mean_bounds((rounds + 1) / 2, level=simultaneous)
        if test == "mcnemar":
            p = np.array([_mcnemar(each) for each in first - second])
        else:
            p = betting.paired_test(rounds).p
        tests += list(zip(rounds, 2 * low - 1, 2 * high - 1, p, strict=True))
    adjusted = holm(np.array([test[3] for test in tests]))
    return [
        _comparison(
            units,
            pair,
            rounds,
            (float(low), float(high)),
            float(p),
            float(p_holm),
            level=level,
            power=power,
            pairs=len(pairs),
            test=test,
        )
        for pair, (rounds, low, high, p), p_holm in zip(pairs, tests, adjusted, strict=True)
    ]


def _verdicts(units: Units) -> Units:
    """Reduce to one verdict per start, and check that all tasks have the same number of starts."""
    if units.trials.max(initial=0) > 1:
        raise UserError(
            "--test mcnemar needs exactly one trial of a policy from a start, but some starts were "
            "run several times. Omit --test: the betting test uses the mean of each start."
        )
    if np.ptp((~np.isnan(units.mean)).sum(axis=2)):
        raise UserError(
            "--test mcnemar needs the same number of starts on every task, because tasks have "
            "equal weight. Run the missing starts, or omit --test."
        )
    shown = np.where(np.isnan(units.mean), np.nan, units.mean > HALF)
    return replace(units, mean=shown, binary=True)


def _mcnemar(differences: Float[Array, "t c"]) -> float:
    return mcnemar(int((differences == 1).sum()), int((differences == -1).sum()))


def differences_by_round(differences: Float[Array, "b t c"]) -> Float[Array, "b n t"]:
    """Arrange differences in rounds of one start per task; NaN if a task has none left.

    In tasks with more starts than the smallest task, starts are averaged in groups. Every round
    then has the mean over tasks as its expectation, and every start is used.
    """
    if not np.isnan(differences).any():
        return differences.transpose(0, 2, 1)
    batch, tasks, starts = differences.shape
    rounds = np.full((batch, starts, tasks), np.nan)
    for b in range(batch):
        shared = [row[~np.isnan(row)] for row in differences[b]]
        n = min(len(row) for row in shared)
        for t, row in enumerate(shared):
            if n:
                rounds[b, :n, t] = [part.mean() for part in np.array_split(row, n)]
    return rounds


def _comparison(
    units: Units,
    pair: tuple[int, int],
    rounds: Float[Array, "n t"],
    bounds: tuple[float, float],
    p: float,
    p_holm: float,
    *,
    level: float,
    power: float,
    pairs: int,
    test: str,
) -> Comparison:
    i, j = pair
    shared = units.mean[i] - units.mean[j]
    present = ~np.isnan(shared)
    n = int(present.sum())
    method = "betting, Bonferroni over pairs"
    if np.isnan(rounds).all():
        difference = undefined(level=level, n=0, clusters=0, method=method)
        return Comparison(
            first=units.policies[i],
            second=units.policies[j],
            difference=difference,
            p=1.0,
            p_holm=1.0,
            p_mcnemar=None,
            separated=False,
            needed=None,
        )
    value = float(np.nanmean(shared, axis=1).mean())
    low, high = min(bounds[0], value), max(bounds[1], value)
    separated = p_holm <= 1 - level
    each = shared[present]
    needed = None
    if not separated and value != 0 and n > 1:
        # Bonferroni, as for the interval. The spread is regularised by one start of each kind,
        # because two policies that differed once in ten starts may still have a larger spread.
        spread = float(np.sqrt((np.sum((each - value) ** 2) + 2 * 0.5**2) / (n + 2)))
        about = {"level": level, "power": power, "comparisons": pairs}
        if test == "mcnemar":
            apart = min(1.0, max(spread**2 + value**2, abs(value)))
            chances = (apart + value) / 2, (apart - value) / 2
            needed = pairs_for_mcnemar(*chances, **about, exact=False)
        else:
            needed = pairs_to_separate(value, spread, **about)
        needed = None if needed is None else max(n + 1, needed)
    once = units.binary and bool(np.isin(each, (-1.0, 0.0, 1.0)).all())
    return Comparison(
        first=units.policies[i],
        second=units.policies[j],
        difference=Estimate(
            value=value, low=low, high=high, level=level, n=n, clusters=n, method=method
        ),
        p=p,
        p_holm=p_holm,
        p_mcnemar=_mcnemar(shared) if once else None,
        separated=separated,
        needed=needed,
    )
