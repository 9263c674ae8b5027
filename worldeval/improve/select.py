"""Select the attempts to learn from, and weight them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from worldeval.axes import Array, Float
from worldeval.improve.place import Attempt, probabilities
from worldeval.improve.recipe import TrustRecipe

LARGEST_WEIGHT = 20.0  # cap for attempts far better than their siblings (AWR's clipping)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Selected attempts with weights, and the number that they were selected from."""

    attempts: tuple[Attempt, ...]
    weight: Float[Array, " n"]
    tried: int
    trusted: int  # whose trust signals are within bounds
    successful: int  # trusted, and successful according to the judge


def choose(
    attempts: Sequence[Attempt],
    trust: TrustRecipe,
    *,
    best: int,
    weight: Literal["alike", "success", "advantage"] = "alike",
    temperature: float = 1.0,
) -> Chosen:
    """Select the `best` trusted successes of each start, or weight all trusted attempts.

    'alike' is filtered behaviour cloning. 'success' weights every trusted attempt by its success
    probability. 'advantage' weights by exp(A / temperature), where A is the probability minus the
    mean of the same start's trusted attempts (Peng et al., "Advantage-Weighted Regression", 2019,
    eq. 3).
    """
    believed = [attempt for attempt in attempts if is_trusted(attempt, trust)]
    good = [one for one in believed if one.verdict.probability >= trust.probability]
    kept = _best(good, best) if weight == "alike" else believed
    return Chosen(
        attempts=tuple(kept),
        weight=_weights(kept, believed, weight, temperature),
        tried=len(attempts),
        trusted=len(believed),
        successful=len(good),
    )


def is_trusted(attempt: Attempt, trust: TrustRecipe) -> bool:
    """Whether the judge's members agree and every trust signal is within its bound."""
    votes = attempt.verdict.votes
    if votes and max(votes) - min(votes) > trust.disagreement:
        return False
    signals = attempt.rollout.trust
    return all(signals.get(name, 0.0) <= bound for name, bound in trust.signals.items())


def _best(attempts: Sequence[Attempt], best: int) -> list[Attempt]:
    """Select the most probable successes of each start, at most `best`; all if that is 0."""
    if best == 0:
        return list(attempts)
    left: dict[str, int] = {}
    kept = []
    for attempt in sorted(attempts, key=lambda one: -one.verdict.probability):
        taken = left.get(attempt.start.id, 0)
        if taken < best:
            left[attempt.start.id] = taken + 1
            kept.append(attempt)
    return kept


def _weights(
    kept: Sequence[Attempt],
    believed: Sequence[Attempt],
    weight: Literal["alike", "success", "advantage"],
    temperature: float,
) -> Float[Array, " n"]:
    probability = probabilities(kept)
    if weight == "alike":
        return np.ones(len(kept))
    if weight == "success":
        return probability
    by_start: dict[str, list[float]] = {}
    for attempt in believed:
        by_start.setdefault(attempt.start.id, []).append(attempt.verdict.probability)
    expected = np.array([np.mean(by_start[attempt.start.id]) for attempt in kept])
    return np.minimum(np.exp((probability - expected) / temperature), LARGEST_WEIGHT)
