"""Processes that do jobs: one that is killed is noticed, and its job is done by the next."""

import os
import signal
from pathlib import Path

from worldeval.device import TURN
from worldeval.evaluate.workers.jobs import BatchDone, Job
from worldeval.evaluate.workers.local import Processes
from worldeval.evaluate.workers.spread import Foreman


class Clumsy:
    """Kills its own process at one job, once: what a shortage of memory looks like."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, job: Job) -> BatchDone:
        if job.name == "1" and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return BatchDone(
            job=job,
            probabilities=(0.5,),
            seconds=0.0,
            packed=f"{os.getpid()} {os.environ[TURN]}".encode(),
        )


def test_a_killed_process_is_replaced_and_its_job_done(tmp_path: Path) -> None:
    jobs = [Job(name=str(i), ref="r", policy="p", starts=(i,)) for i in range(3)]
    crew = Processes(1, Clumsy, tmp_path / "mark")
    with Foreman(crew) as foreman:
        results = list(foreman.run(iter(jobs)))
    assert sorted(result.job.name for result in results) == ["0", "1", "2"]
    assert all(isinstance(result, BatchDone) for result in results)
    said = {result.packed.decode() for result in results if isinstance(result, BatchDone)}
    pids, turns = zip(*(each.split() for each in sorted(said)), strict=True)
    assert len(pids) == 2 and str(os.getpid()) not in pids
    assert set(turns) == {"0", "1"}  # by which workers take GPUs
