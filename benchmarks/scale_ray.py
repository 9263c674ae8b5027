"""What distributing a large ranking costs: 1,000 policies x 100 starts over 8 nodes x 8 GPUs.

The plan of the jobs and the foreman are the ones that rankings use; the crew is a model of one,
whose workers take the given time for a job on a clock that only counts. Measured is the CPU time of
the process that plans, hands out and receives, for each job and as a share of the time that the
cluster takes. Ray's own messages are not in it.
"""

import heapq
import time
from collections.abc import Collection, Hashable
from typing import Any

import numpy as np

from worldeval.evaluate.workers.cluster import fitting
from worldeval.evaluate.workers.jobs import BatchDone, Job, Result, Shard, plan
from worldeval.evaluate.workers.spread import Died, Foreman, Ready
from worldeval.record import Start

RESOURCES = {"CPU": 8 * 96.0, "GPU": 8 * 8.0}


class ClockedCrew:
    """Workers that take a job's time on a clock of their own."""

    def __init__(self, size: int, seconds: float, rng: np.random.Generator) -> None:
        self.size, self.now = size, 0.0
        self._seconds, self._rng, self._count = seconds, rng, 0
        self._busy: list[tuple[float, int, Job | None]] = []

    def hire(self) -> Hashable:
        self._count += 1
        heapq.heappush(self._busy, (self.now + 60.0, self._count, None))  # loading its models
        return self._count

    def give(self, worker: Any, job: Job) -> None:
        lasts = self._seconds * self._rng.uniform(0.8, 1.2)
        heapq.heappush(self._busy, (self.now + lasts, worker, job))

    def wait(self, workers: Collection[Any]) -> list[tuple[Any, Ready | Died | Result]]:
        self.now, worker, job = heapq.heappop(self._busy)
        if job is None:
            return [(worker, Ready())]
        rates = (0.5,) * len(job.starts)
        return [(worker, BatchDone(job=job, probabilities=rates, seconds=0.0, packed=b""))]

    def close(self) -> None:
        self._busy.clear()


def distribute(
    *, policies: int, starts: int, batch: int, seconds: float, seed: int
) -> dict[str, Any]:
    """Rank on a modelled cluster; `seconds` is the time of a batch of episodes on a GPU's share."""
    share = 0.5
    crew = ClockedCrew(fitting(RESOURCES, share), seconds, np.random.default_rng(seed))
    empty = np.zeros(1, np.float32)
    every = [Start(id=f"s{k}", frames={}, pose=empty, task="t", seed=k) for k in range(starts)]
    refs = {f"p{k}": f"runs/p{k}" for k in range(policies)}
    begin = time.process_time()
    jobs = plan(refs, every, dict.fromkeys(refs, starts), (), batch=batch, shard=Shard(),
                by_turns=False)  # fmt: skip
    with Foreman(crew) as foreman:
        done = sum(len(result.job.starts) for result in foreman.run(jobs))
    spent = time.process_time() - begin
    assert done == policies * starts
    count = policies * -(-starts // batch)
    return {
        "policies": policies, "starts": starts, "gpus": int(RESOURCES["GPU"]), "gpu_share": share,
        "workers": crew.size, "jobs": count, "job_seconds": seconds, "cluster_seconds": crew.now,
        "foreman_cpu_seconds": spent, "foreman_ms_per_job": 1e3 * spent / count,
        "foreman_share_of_cluster_time": spent / crew.now,
        "idle_share_of_workers": 1 - count * seconds / (crew.size * crew.now),
    }  # fmt: skip
