"""Where improvement happens: a world model and a judge in which policies run, no simulator."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from worldeval.axes import Array, Float
from worldeval.policy.protocol import Policy
from worldeval.record import Rollout, Start, Verdict
from worldeval.rollout.loop import imagine
from worldeval.world.protocol import WorldModel


@runtime_checkable
class Judging(Protocol):
    """The part of a judge's interface that improvement needs."""

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Return a verdict for each roll-out; all have the same length."""
        ...

    def over_time(self, rollouts: Sequence[Rollout]) -> Float[Array, "b t"]:
        """Return the success probability at each frame, including the first."""
        ...


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One imagined episode, its start, and the judge's verdict."""

    start: Start
    rollout: Rollout
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A world model and a judge in which policies run."""

    world: WorldModel
    judge: Judging
    horizon: int = 30
    replan_every: int = 2
    batch: int = 50

    def attempt(
        self, policy: Policy, starts: Sequence[Start], seeds: Sequence[int]
    ) -> list[Attempt]:
        """Imagine and judge one episode from every start, in batches."""
        out: list[Attempt] = []
        for begin in range(0, len(starts), self.batch):
            part = list(starts[begin : begin + self.batch])
            rollouts = imagine(
                self.world,
                policy,
                part,
                horizon=self.horizon,
                replan_every=self.replan_every,
                seeds=seeds[begin : begin + self.batch],
            )
            verdicts = given(self.judge(rollouts))
            out += [
                Attempt(start=start, rollout=rollout, verdict=verdict)
                for start, rollout, verdict in zip(part, rollouts, verdicts, strict=True)
            ]
        return out

    def compared(self, policy: Policy, starts: Sequence[Start], *, seed: int) -> list[Attempt]:
        """Imagine attempts with the same seeds for every policy, so that results are paired."""
        return self.attempt(policy, starts, [seed + start.seed for start in starts])


def given(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Count an episode on which the judge abstains as no success: doubt must not teach."""
    return [
        replace(verdict, probability=0.0) if np.isnan(verdict.probability) else verdict
        for verdict in verdicts
    ]


def probabilities(attempts: Sequence[Attempt]) -> Float[Array, " n"]:
    """The judge's success probability of every attempt."""
    return np.array([attempt.verdict.probability for attempt in attempts])
