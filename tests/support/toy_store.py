"""Batches for a run store without a world model: every probability is made from the names alone."""

import hashlib
from collections.abc import Sequence

import numpy as np

from worldeval.evaluate.workers.jobs import BatchDone, Job
from worldeval.record import Rollout, Start, Verdict
from worldeval.runs.store import pack


def toy_starts(count: int, tasks: Sequence[str] = ("open", "close")) -> list[Start]:
    """So many starts of every task, taking turns."""
    return [
        Start(
            id=f"{task}-{seed}",
            task=task,
            seed=seed,
            frames={"side": np.full((4, 4, 3), seed, np.uint8)},
            pose=np.full(3, seed, np.float32),
        )
        for seed in range(count)
        for task in tasks
    ]


def probability(policy: str, start: str) -> float:
    """What the judge says."""
    return int(hashlib.sha256(f"{policy} {start}".encode()).hexdigest()[:6], 16) / 16**6


def batch(job: Job, starts: Sequence[Start]) -> BatchDone:
    """A job's outcome."""
    chosen = [starts[place] for place in job.starts]
    rollouts = [
        Rollout(
            start=start.id,
            task=start.task,
            policy=job.policy,
            seed=start.seed,
            actions=np.zeros((2, 4), np.float32),
            pose=np.zeros((3, 3), np.float32),
            latents=np.zeros((3, 1, 1, 1, 1), np.float16),
            trust={"mended_actions": 0.0},
        )
        for start in chosen
    ]
    said = [probability(job.policy, start.id) for start in chosen]
    verdicts = [Verdict(probability=p, step=1, judge="toy", votes=(p,)) for p in said]
    return BatchDone(
        job=job, probabilities=tuple(said), seconds=0.1, packed=pack(rollouts, verdicts)
    )
