"""Judges that improvement does not see: they say whether a gain is more than one judge's weakness.

A policy that is optimised for a judge also learns the judge's errors. So a member of the judge's
ensemble, or another judge, takes no part in the optimisation; its verdict is reported beside the
optimised one. The others can be combined pessimistically: their mean less a multiple of their
standard deviation, so that an action on which they disagree earns less.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.improve.place import Judging, Simulation, given
from worldeval.record import Rollout, Verdict


@runtime_checkable
class Parted(Protocol):
    """A judge made of several, such as an ensemble or a panel."""

    def parts(self) -> Sequence[Judging]:
        """Return every member as a judge of its own."""
        ...


class Pessimistic:
    """Several judges as one: their mean probability less `weight` standard deviations."""

    def __init__(self, judges: Sequence[Judging], weight: float) -> None:
        self.judges, self.weight = tuple(judges), weight
        self.name = f"{len(self.judges)} judges" + (f", less {weight:g} sd" if weight else "")

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Return a verdict for each roll-out, with one vote of every judge."""
        each = np.array(
            [[one.probability for one in given(judge(rollouts))] for judge in self.judges]
        )
        steps = self.over_time(rollouts)[:, 1:].argmax(1) + 1
        return [
            Verdict(
                probability=float(probability),
                step=int(step),
                judge=self.name,
                votes=tuple(float(vote) for vote in votes),
            )
            for probability, step, votes in zip(self._joined(each), steps, each.T, strict=True)
        ]

    def over_time(self, rollouts: Sequence[Rollout]) -> Float[Array, "b t"]:
        """Return the pessimistic probability at each frame."""
        return self._joined(np.stack([judge.over_time(rollouts) for judge in self.judges]))

    def _joined(self, each: Float[Array, "m *n"]) -> Float[Array, "*n"]:
        return np.maximum(each.mean(0) - self.weight * each.std(0), 0.0)


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """The place where a policy is optimised, and the judge that takes no part in it."""

    place: Simulation
    left_out: Judging | None = None  # None: nobody is left out


def guarded(
    place: Simulation, *, leave_out: bool, pessimism: float, second: Judging | None = None
) -> Guarded:
    """Leave `second`, or else the last member of the judge's ensemble, out of the optimisation.

    Raises:
        UserError: the judge has no member that could be left out.
    """
    parts = list(place.judge.parts()) if isinstance(place.judge, Parted) else []
    if second is None and leave_out:
        if len(parts) < 2:
            raise UserError(
                "The judge has no second member that could be left out of the optimisation. Train "
                "a judge with members: 2 or more, name another judge in second_judge, or set "
                "leave_out: false."
            )
        *parts, second = parts
    elif not pessimism or not parts:
        return Guarded(place=place, left_out=second)
    return Guarded(place=replace(place, judge=Pessimistic(parts, pessimism)), left_out=second)


def seen_by(judge: Judging, rollouts: Sequence[Rollout], *, batch: int) -> Float[Array, " n"]:
    """The success probability of every roll-out according to `judge`; 0 where it abstains."""
    out: list[float] = []
    for begin in range(0, len(rollouts), batch):
        out += [one.probability for one in given(judge(rollouts[begin : begin + batch]))]
    return np.array(out)
