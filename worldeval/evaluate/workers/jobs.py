"""Units of work of an evaluation: one policy from a few starts, as one batch."""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from worldeval.record import Start


@dataclass(frozen=True, kw_only=True)
class Job:
    """A batch to imagine and judge."""

    name: str  # of its file in the run store; equal work has equal names everywhere
    ref: str  # the policy's address
    policy: str  # its name
    starts: tuple[int, ...]  # indices into the evaluation's list of starts


@dataclass(frozen=True, kw_only=True)
class BatchDone:
    """Results of one batch of one policy."""

    job: Job
    probabilities: tuple[float, ...]  # one per start of the job
    seconds: float  # CPU time of one process
    packed: bytes = field(repr=False)  # the file for the run store; empty without verdicts
    abstained: Mapping[int, str] = field(default_factory=dict)  # start -> why it has no verdict

    @property
    def policy(self) -> str:
        return self.job.policy


@dataclass(frozen=True, kw_only=True)
class BatchFailed:
    """A batch that could not be completed, so that its episodes have no known outcome."""

    job: Job
    error: str
    mistake: bool = False  # an error of the user's, so that retrying is useless
    hung: bool = False  # the policy timed out, and every retry would take as long
    details: str = ""  # for whoever fixes the policy


Result = BatchDone | BatchFailed


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of `count` parts of the work, for machines that share no storage."""

    index: int = 0
    count: int = 1

    def takes(self, place: int) -> bool:
        """Whether the batch at this place of the whole plan belongs to this part."""
        return place % self.count == self.index


def plan(
    refs: Mapping[str, str],
    starts: Sequence[Start],
    wanted: Mapping[str, int],
    done: Collection[tuple[str, str]],
    *,
    batch: int,
    shard: Shard,
    by_turns: bool,
) -> Iterator[Job]:
    """Plan the jobs that are not yet `done`.

    Args:
        refs: policy -> address, in the order of the work.
        starts: starts of the evaluation.
        wanted: policy -> number of starts, from the first, to run it from.
        done: (policy, start's id) of everything in the store.
        batch: number of episodes that advance together. Batches begin at multiples of it,
            whatever is done.
        shard: the part of the work to plan.
        by_turns: plan every policy's first batch before any second, for work that may be stopped.
    """
    per_policy = -(-len(starts) // batch)
    blocks = [(policy, block) for policy in refs for block in range(per_policy)]
    places = {key: place for place, key in enumerate(blocks)}
    for policy, block in sorted(blocks, key=lambda key: key[1]) if by_turns else blocks:
        if not shard.takes(places[policy, block]):
            continue
        last = min((block + 1) * batch, wanted.get(policy, 0))
        missing = tuple(
            place for place in range(block * batch, last) if (policy, starts[place].id) not in done
        )
        if missing:
            ids = [starts[place].id for place in missing]
            name = _name(policy, block * batch, ids)
            yield Job(name=name, ref=refs[policy], policy=policy, starts=missing)


def by_task(starts: Sequence[Start], tasks: Sequence[str]) -> list[Start]:
    """Interleave starts by task, so that the first few cover every task.

    Further starts of each task are then appended to the existing ones, not placed among them.
    """
    queues = [[start for start in starts if start.task == task] for task in tasks]
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def _name(policy: str, first: int, starts: Sequence[str]) -> str:
    readable = re.sub(r"[^\w.+-]", "_", policy.replace("/", "__"))[:80]
    told = hashlib.sha256(json.dumps([policy, *starts]).encode()).hexdigest()
    return f"{readable}-{first:05d}-{told[:8]}"
