# pandas types a cell as anything that a table may hold.
# pyright: reportReturnType=false
"""Imagine and judge policies from the same starts: parallel, resumable, within a budget."""

import errno
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd

from worldeval.errors import UserError
from worldeval.evaluate.budget import (
    Rounds,
    Spending,
    SpendingReport,
    found_leader,
    in_time,
    rounds_wanted,
    sequences,
)
from worldeval.evaluate.workers.jobs import BatchFailed, Job, Result, Shard, plan
from worldeval.evaluate.workers.spread import Crew, Foreman
from worldeval.record import Start
from worldeval.rollout.inverse import SIGNAL
from worldeval.runs.errors import note_error
from worldeval.runs.paths import RunPaths
from worldeval.runs.store import RolloutStore

GIVEN_UP = 3  # consecutive failed batches after which a policy's other work is postponed
LOOK = 16  # approximate number of episodes per policy between two looks at the leader
FULL = {errno.ENOSPC, errno.EDQUOT}

Progress = Callable[[Result], None]


@dataclass(kw_only=True)
class ImaginedPart:
    """The imagined part of a run: its store, and the work that fills it.

    `starts` are ordered so that the first few cover every task (`by_task`).
    """

    folder: Path  # of the run
    refs: Mapping[str, str]  # policy -> address
    starts: Sequence[Start]
    seed: int
    batch: int
    spending: Spending = field(default_factory=Spending)
    shard: Shard = field(default_factory=Shard)

    def __post_init__(self) -> None:
        if self.shard.count > 1 and self.spending.looks:
            raise UserError(
                "Shards do not see each other's outcomes, so decisions cannot depend on them. Omit "
                "--allocate and --stop-when-separated, or --num-shards."
            )
        self.store = RolloutStore(RunPaths(self.folder).imagined)
        self.damaged = self.store.mend()  # files set aside, whose episodes are repeated
        known = {start.id for start in self.starts}
        self.done = {  # (policy, start's id) -> probability of success
            (policy, start): probability
            for (policy, start, _), probability in self.store.done().items()
            if policy in self.refs and start in known
        }
        self.abstained: dict[str, int] = {}  # policy -> episodes without a verdict
        self.errors: dict[str, str] = {}  # policy -> its last error in this command
        self._failed: Counter[str] = Counter()  # batches in a row
        tasks = dict.fromkeys(start.task for start in self.starts)
        self._queues = [[one.id for one in self.starts if one.task == task] for task in tasks]

    @property
    def rounds(self) -> int:
        """Number of rounds; a round has one start of every task that has any left."""
        return max(map(len, self._queues))

    def work(self, crew: Crew, progress: Progress | None = None) -> SpendingReport:
        """Imagine what is missing. Every finished batch is stored at once.

        Raises:
            UserError: a policy or the protocol is wrong, or the disk is full.
        """
        minutes = self.spending.minutes
        deadline = None if minutes is None else monotonic() + 60 * minutes
        wanted, why = [0] * len(self.refs), "all done"
        with Foreman(crew) as foreman:
            for wanted in self._stages():
                jobs = in_time(deadline, self._missing(wanted))
                for result in foreman.run(jobs):
                    self._keep(result)
                    if progress:
                        progress(result)
                if deadline is not None and monotonic() >= deadline and self._lacks(wanted):
                    why = "time is up"
                    break
        return self._spent(wanted, why)

    def scores(self, policy: int, rounds: int) -> Rounds:
        """Return a policy's probabilities in its first rounds, by task; NaN if unknown."""
        name = list(self.refs)[policy]
        return np.array(
            [
                [
                    self.done.get((name, queue[row]), np.nan) if row < len(queue) else np.nan
                    for queue in self._queues
                ]
                for row in range(rounds)
            ]
        ).reshape(rounds, len(self._queues))

    def _stages(self) -> Iterator[list[int]]:
        return rounds_wanted(
            self.spending,
            self.scores,
            policies=len(self.refs),
            rounds=self.rounds,
            tasks=len(self._queues),
            step=max(1, LOOK // len(self._queues)),
            rng=np.random.default_rng([self.seed, 11]),
        )

    def _missing(self, wanted: Sequence[int]) -> Iterator[Job]:
        """Plan jobs for missing episodes of these rounds, without policies that keep failing."""
        counts = {
            policy: sum(min(len(queue), rounds) for queue in self._queues)
            for policy, rounds in zip(self.refs, wanted, strict=True)
        }
        for job in plan(
            self.refs,
            self.starts,
            counts,
            set(self.done),
            batch=self.batch,
            shard=self.shard,
            by_turns=self.spending.by_turns,
        ):
            if self._failed[job.policy] < GIVEN_UP:
                yield job

    def _lacks(self, wanted: Sequence[int]) -> bool:
        return next(self._missing(wanted), None) is not None

    def _keep(self, result: Result) -> None:
        if isinstance(result, BatchFailed):
            self._note(result)
            return
        job = result.job
        with self._on_disk():
            if job.starts:
                self.store.add(job.name, result.packed)
            for place, reason in result.abstained.items():
                self._write_down(job.policy, [place], f"the judge abstains: {reason}", "")
                self.abstained[job.policy] = self.abstained.get(job.policy, 0) + 1
        self._failed[job.policy] = 0
        for place, probability in zip(job.starts, result.probabilities, strict=True):
            self.done[job.policy, self.starts[place].id] = probability

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise UserError(
                f"The disk of {self.folder} is full. Finished work is kept; free some space, and "
                "run the same command again."
            ) from error

    def _note(self, failed: BatchFailed) -> None:
        """Record why a batch has no outcome; its episodes are excluded and can be retried."""
        job = failed.job
        with self._on_disk():
            self._write_down(job.policy, job.starts, failed.error, failed.details)
        if failed.mistake:
            raise UserError(failed.error)
        self._failed[job.policy] += GIVEN_UP if failed.hung else 1
        self.errors[job.policy] = failed.error

    def _write_down(self, policy: str, places: Sequence[int], error: str, details: str) -> None:
        starts = [self.starts[place].id for place in places]
        note_error(self.folder, policy, starts, error, details=details)

    def _spent(self, wanted: Sequence[int], why: str) -> SpendingReport:
        names, looks = list(self.refs), self.spending.looks
        scores = [self.scores(k, rounds) for k, rounds in enumerate(wanted)]
        best = found_leader(self.scores, wanted) if looks else None
        if why == "all done" and min(wanted) < self.rounds:
            stopped = self.spending.stop_when_separated and best is not None
            ended = "decided" if self.spending.decided else "roll-outs spent"
            why = "leader found" if stopped else ended
        return SpendingReport(
            allocate=self.spending.allocate,
            why=why,
            leader=None if best is None else names[best],
            estimates=dict(zip(names, sequences(scores), strict=True)) if looks else {},
        )


def outcomes(folder: Path, cards: pd.DataFrame, starts: Sequence[Start]) -> pd.DataFrame:
    """Return a row per imagined episode, with its policy's lineage and step from `cards`.

    Rows follow the order of `cards` and `starts`, whatever the distribution of the work.
    """
    policies = {policy: place for place, policy in enumerate(cards["policy"])}
    places = {start.id: place for place, start in enumerate(starts)}
    kept = [
        (policies[fact.policy], places[fact.start], fact, verdict)
        for fact, verdict in RolloutStore(folder).verdicts()
        if fact.policy in policies and fact.start in places
    ]
    if not kept:
        raise UserError(f"{folder} has no roll-out of these policies yet.")
    rows = [
        {
            "policy": fact.policy,
            "task": fact.task,
            "start": fact.start,
            "seed": fact.seed,
            "score": round(verdict.probability, 6),
            "reached": verdict.step,
            **({} if verdict.progress is None else {"progress": round(verdict.progress, 4)}),
            "disagreement": round(max(verdict.votes) - min(verdict.votes), 6),
            "mended": fact.trust.get("mended_actions", 0.0),
            **{key: round(fact.trust[key], 4) for key in (SIGNAL,) if key in fact.trust},
        }
        for _, _, fact, verdict in sorted(kept, key=lambda row: row[:2])
    ]
    table = pd.DataFrame(rows).merge(cards[["policy", "lineage", "step"]], on="policy")
    first = ["policy", "lineage", "step", "task", "start", "seed", "score"]
    return table[[*first, *(column for column in table if column not in first)]]
