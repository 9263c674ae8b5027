"""Allocate roll-outs to policies, evenly or where they separate policies best, and stop early.

Work is counted in rounds: one start of every task. Looking at the outcomes and then deciding biases
plain means, so estimates here are confidence sequences, which hold however often one looks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from time import monotonic
from typing import Any, Literal, TypeVar

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.stats import Estimate, betting
from worldeval.stats.spending import halving_rounds, leader, top_two

# Policies drawn before the next look, so that several workers have work. It is constant, because
# results must not depend on the number of workers.
TOGETHER = 4

Rounds = Float[Array, "_n t"]  # a policy's scores: a row per round, a column per task, NaN: unknown
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Spending:
    """The budget that a user allows."""

    allocate: Literal["even", "halving", "top-two"] = "even"
    stop_when_separated: bool = False
    rollouts: int | None = None  # total; None: every policy from every start, or half if adaptive
    minutes: float | None = None  # time for imagining, in this command
    # Ends an even allocation early, given every policy's scores so far.
    decided: Callable[[Sequence["Rounds"]], bool] | None = None

    @property
    def looks(self) -> bool:
        """Whether outcomes decide what is done next, which the statistics must account for."""
        return self.allocate != "even" or self.stops

    @property
    def stops(self) -> bool:
        """Whether outcomes may end the work early."""
        return self.stop_when_separated or self.decided is not None

    @property
    def by_turns(self) -> bool:
        """Whether policies must advance together, because the work may end early."""
        return self.looks or self.minutes is not None or self.rollouts is not None


@dataclass(frozen=True, kw_only=True)
class SpendingReport:
    """How an evaluation with a budget or adaptive allocation ended."""

    allocate: str
    # Why it ended: 'all done', 'leader found', 'decided', 'roll-outs spent' or 'time is up'.
    why: str
    leader: str | None
    estimates: dict[str, Estimate]  # confidence sequences, simultaneous over policies

    def to_json(self) -> dict[str, Any]:
        """Return plain data for summary.json."""
        return {**asdict(self), "estimates": {k: v.record() for k, v in self.estimates.items()}}


Seen = Callable[[int, int], Rounds]  # (policy, rounds) -> the scores of its first rounds


def rounds_wanted(
    spending: Spending,
    seen: Seen,
    *,
    policies: int,
    rounds: int,
    tasks: int,
    step: int,
    rng: np.random.Generator,
) -> Iterator[list[int]]:
    """Yield the number of rounds wanted of each policy, stage by stage.

    What a stage wants is known by the time that the next one is asked for. The stages depend on the
    scores and `rng` alone, so a run that is resumed spends as it would have without a break.

    Args:
        spending: what is allowed.
        seen: the scores.
        policies: how many there are.
        rounds: that the starts give.
        tasks: roll-outs in a round.
        step: rounds that a policy advances by between two looks.
        rng: of the policies drawn to try next.
    """
    total = policies * rounds
    given = total if spending.rollouts is None else min(spending.rollouts // tasks, total)
    if spending.allocate == "halving":
        budget = given if spending.rollouts else total // 2
        yield from _halving(spending, seen, policies, rounds, max(budget, 1))
        return
    if given < policies:
        raise UserError(
            f"{spending.rollouts} roll-outs are too few for {policies} policies on {tasks} tasks: "
            f"at least {policies * tasks} are needed."
        )
    wanted = [0] * policies
    if spending.allocate == "even":
        while sum(wanted) + policies <= given and wanted[0] < rounds:
            most = given // policies
            ahead = wanted[0] + step if spending.stops else most
            wanted = [min(ahead, most, rounds)] * policies
            yield list(wanted)
            if spending.stop_when_separated and found_leader(seen, wanted) is not None:
                return
            if spending.decided and spending.decided([seen(k, n) for k, n in enumerate(wanted)]):
                return
        return
    budget = given if spending.rollouts else max(total // 2, policies)
    wanted = [min(step, rounds, budget // policies)] * policies
    yield list(wanted)
    while sum(wanted) < budget:
        if spending.stop_when_separated and found_leader(seen, wanted) is not None:
            return
        open_ = [k for k in range(policies) if wanted[k] < rounds]
        if not open_:
            return
        won = np.array([np.nansum(seen(k, wanted[k])) for k in open_])
        tried = np.array([float((~np.isnan(seen(k, wanted[k]))).sum()) for k in open_])
        for _ in range(TOGETHER):
            k = open_[top_two(won, tried - won, rng=rng)]
            wanted[k] = min(wanted[k] + step, rounds, wanted[k] + budget - sum(wanted))
        yield list(wanted)


def found_leader(seen: Seen, wanted: Sequence[int]) -> int | None:
    """Return the policy whose lower bound exceeds every other's upper bound, or None."""
    if len(wanted) < 2:
        return None
    return leader(tuple(sequences([seen(k, n) for k, n in enumerate(wanted)])))


def sequences(scores: Sequence[Rounds], *, level: float = 0.95) -> list[Estimate]:
    """Compute every policy's mean score and confidence sequence, simultaneous over policies."""
    each = 1 - (1 - level) / len(scores)  # Bonferroni
    out = []
    for rounds in scores:
        n = int((~np.isnan(rounds)).sum())
        low, high = betting.sequence_end(rounds[None], level=each) if n else ([0.0], [1.0])
        out.append(
            Estimate(
                value=_mean(rounds),
                low=float(low[0]),
                high=float(high[0]),
                level=level,
                n=n,
                clusters=n,
                method="confidence sequence, Bonferroni over policies",
            )
        )
    return out


def in_time(deadline: float | None, items: Iterator[T]) -> Iterator[T]:
    """Yield items until `deadline` on the monotonic clock; None for no limit."""
    while deadline is None or monotonic() < deadline:
        item = next(items, None)
        if item is None:
            return
        yield item


def _halving(
    spending: Spending, seen: Seen, policies: int, rounds: int, budget: int
) -> Iterator[list[int]]:
    """Run all policies, drop the worse half, and repeat (Karnin et al. 2013)."""
    wanted, alive = [0] * policies, list(range(policies))
    for _, more in halving_rounds(policies, budget):
        for k in alive:
            wanted[k] = min(wanted[k] + more, rounds)
        yield list(wanted)
        if spending.stop_when_separated and found_leader(seen, wanted) is not None:
            return
        alive.sort(key=lambda k: (-(_mean(seen(k, wanted[k])) or 0.0), k))
        alive = alive[: ceil(len(alive) / 2)]


def _mean(rounds: Rounds) -> float | None:
    return None if np.isnan(rounds).all() else float(np.nanmean(rounds))
