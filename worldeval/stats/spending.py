"""Adaptive allocation of rollouts, and stopping rules that keep intervals valid.

Adaptive sampling biases sample means, so results carry confidence sequences, never Wilson
intervals.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.stats import betting
from worldeval.stats.estimate import Estimate

Try = Callable[[int, int], Array]  # (policy, number of further rollouts) -> outcomes, 0 to 1


@dataclass(frozen=True, kw_only=True)
class AdaptiveOutcomes:
    """Result of an adaptive allocation."""

    outcomes: tuple[Float[Array, " _"], ...]  # per policy, in order of arrival
    survivors: tuple[int, ...]  # policies that the allocation still considered at the end
    estimates: tuple[Estimate, ...]  # confidence sequences, simultaneous over policies
    stopped: bool  # a leader was found, or all intervals were narrow enough, within the budget

    @property
    def leader(self) -> int | None:
        """Return the policy whose lower bound exceeds all other upper bounds, or None."""
        return leader(self.estimates)


def halving_rounds(policies: int, budget: int) -> list[tuple[int, int]]:
    """Compute (survivors, rollouts for each) per round: floor(T / (|S_r| ceil(log2 K))).

    Raises:
        UserError: the budget is too small for one rollout of every policy in the first round.
    """
    rounds = max(1, ceil(log2(policies)))
    plan, alive = [], policies
    for _ in range(rounds):
        plan.append((alive, budget // (alive * rounds)))
        alive = ceil(alive / 2)
    if plan[0][1] < 1:
        raise UserError(
            f"A budget of {budget} rollouts is too small for sequential halving of {policies} "
            f"policies; at least {policies * rounds} are needed."
        )
    return plan


def sequential_halving(
    attempt: Try, *, policies: int, budget: int, level: float = 0.95
) -> AdaptiveOutcomes:
    """Run all policies, drop the worse half and repeat, in a fixed budget (Karnin et al. 2013)."""
    seen: list[list[float]] = [[] for _ in range(policies)]
    alive = list(range(policies))
    for _, each in halving_rounds(policies, budget):
        for k in alive:
            seen[k] += [float(x) for x in attempt(k, each)]
        if len(alive) > 1:
            alive.sort(key=lambda k: -float(np.mean(seen[k])))
            alive = alive[: ceil(len(alive) / 2)]
    return _spent(seen, alive, level=level, stopped=False)


def top_two(
    successes: Float[Array, " k"],
    failures: Float[Array, " k"],
    *,
    rng: np.random.Generator,
    first: float = 0.5,
) -> int:
    """Choose the next policy by top-two Thompson sampling (Russo 2020) with a Beta(1/2, 1/2) prior.

    Use it for allocation only; its posterior is never used to stop an experiment.
    """
    draw = rng.beta(successes + 0.5, failures + 0.5)
    best = int(np.argmax(draw))
    if len(draw) == 1 or rng.random() < first:
        return best
    others = np.delete(np.arange(len(draw)), best)
    for _ in range(100):
        rival = int(np.argmax(rng.beta(successes + 0.5, failures + 0.5)))
        if rival != best:
            return rival
    # The leader is almost certain, so take the best of the others by mean.
    rates = (successes + 0.5) / (successes + failures + 1)
    return int(others[np.argmax(rates[others])])


def until_leader(
    attempt: Try,
    *,
    policies: int,
    budget: int,
    rng: np.random.Generator,
    batch: int = 10,
    width: float | None = None,
    level: float = 0.95,
) -> AdaptiveOutcomes:
    """Run top-two Thompson sampling until a leader is found or the budget is spent.

    It also stops when every interval is narrow enough.

    Args:
        batch: rollouts between two looks; the confidence sequences stay valid at every look.
        width: stop when every policy's interval is at most this wide.
    """
    seen: list[list[float]] = [
        [float(x) for x in attempt(k, min(batch, max(1, budget // policies)))]
        for k in range(policies)
    ]
    while True:
        result = _spent(seen, list(range(policies)), level=level, stopped=True)
        narrow = width is not None and all((e.width or 1.0) <= width for e in result.estimates)
        if narrow or (policies > 1 and result.leader is not None):
            return result
        left = budget - sum(map(len, seen))
        if left <= 0:
            return _spent(seen, list(range(policies)), level=level, stopped=False)
        won = np.array([sum(x) for x in seen])
        tried = np.array([float(len(x)) for x in seen])
        if width is not None:
            k = int(np.argmax([e.width or 1.0 for e in result.estimates]))
        else:
            k = top_two(won, tried - won, rng=rng)
        seen[k] += [float(x) for x in attempt(k, min(batch, left))]


def leader(estimates: tuple[Estimate, ...]) -> int | None:
    """Return the policy whose lower bound exceeds all other upper bounds, or None."""
    for k, estimate in enumerate(estimates):
        others = [e.high for j, e in enumerate(estimates) if j != k]
        if estimate.low is not None and all(h is not None and estimate.low > h for h in others):
            return k
    return None


def sequence_estimate(outcomes: Float[Array, " n"], *, level: float = 0.95) -> Estimate:
    """Estimate a rate with its confidence sequence, valid under any stopping rule."""
    n = len(outcomes)
    low, high = betting.sequence_end(outcomes[None], level=level)
    value = float(outcomes.mean()) if n else None
    lower, upper = float(low[0]), float(high[0])
    return Estimate(
        value=value,
        low=lower,
        high=upper,
        level=level,
        n=n,
        clusters=n,
        method="confidence sequence",
    )


def _spent(
    seen: list[list[float]], alive: list[int], *, level: float, stopped: bool
) -> AdaptiveOutcomes:
    outcomes = tuple(np.array(x, dtype=float) for x in seen)
    each = 1 - (1 - level) / len(outcomes)  # Bonferroni: all policies' sequences at once
    return AdaptiveOutcomes(
        outcomes=outcomes,
        survivors=tuple(alive),
        estimates=tuple(sequence_estimate(x, level=each) for x in outcomes),
        stopped=stopped,
    )
