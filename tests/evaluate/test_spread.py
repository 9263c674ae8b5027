"""Workers that die, in a crew that is told when: no job is lost, and none is done twice."""

from collections import deque
from collections.abc import Collection
from typing import Any

import pytest

from worldeval.errors import UserError
from worldeval.evaluate.workers.jobs import BatchDone, BatchFailed, Job
from worldeval.evaluate.workers.spread import Alone, Died, Foreman, Ready


def job(number: int) -> Job:
    return Job(name=f"job-{number}", ref="r", policy="p", starts=(number,))


def done(job: Job) -> BatchDone:
    return BatchDone(job=job, probabilities=(0.5,), seconds=0.1, packed=b"")


class Script:
    """Workers that do what they are given, but die where `deaths` says: (worker, its nth word)."""

    def __init__(self, size: int, deaths: Collection[tuple[int, int]] = ()) -> None:
        self.size, self._deaths = size, set(deaths)
        self.hired, self.closed = 0, False
        self._said: deque[tuple[int, Job | None]] = deque()
        self._words: dict[int, int] = {}

    def hire(self) -> int:
        self.hired += 1
        self._said.append((self.hired, None))
        return self.hired

    def give(self, worker: Any, job: Job) -> None:
        self._said.append((worker, job))

    def wait(self, workers: Collection[Any]) -> list[tuple[Any, Any]]:
        worker, job = self._said.popleft()
        assert worker in workers
        word = self._words.get(worker, 0)
        self._words[worker] = word + 1
        if (worker, word) in self._deaths:
            return [(worker, Died("killed"))]
        return [(worker, Ready() if job is None else done(job))]

    def close(self) -> None:
        self.closed = True


def names(foreman: Foreman, count: int) -> list[str]:
    return sorted(result.job.name for result in foreman.run(map(job, range(count))))


def test_every_job_is_done_once() -> None:
    crew = Script(3)
    with Foreman(crew) as foreman:
        assert names(foreman, 10) == sorted(f"job-{i}" for i in range(10))
    assert (crew.hired, crew.closed) == (3, True)


def test_workers_stay_for_the_next_run() -> None:
    crew = Script(2)
    with Foreman(crew) as foreman:
        assert len(names(foreman, 4)) == len(names(foreman, 4)) == 4
    assert crew.hired == 2


def test_no_more_workers_than_jobs() -> None:
    crew = Script(8)
    with Foreman(crew) as foreman:
        names(foreman, 2)
    assert crew.hired == 2


def test_what_the_dead_were_at_is_done_by_others() -> None:
    crew = Script(2, {(1, 1), (2, 2), (3, 1)})
    with Foreman(crew) as foreman:
        assert names(foreman, 6) == [f"job-{i}" for i in range(6)]
    assert crew.hired == 5


def test_a_job_that_kills_everyone_is_given_up_and_said_so() -> None:
    crew = Script(1, {(worker, 1) for worker in (1, 2, 3)})
    with Foreman(crew) as foreman:
        first, second = foreman.run(map(job, range(2)))
    assert (
        isinstance(first, BatchFailed) and "3 workers ended while doing it: killed" in first.error
    )
    assert isinstance(second, BatchDone) and second.job.name == "job-1"


def test_workers_that_cannot_start_are_a_fault() -> None:
    crew = Script(1, {(worker, 0) for worker in (1, 2, 3)})
    with Foreman(crew) as foreman, pytest.raises(UserError, match="end while they start: killed"):
        names(foreman, 1)


def test_alone_the_work_is_done_here() -> None:
    with Foreman(Alone(lambda: done)) as foreman:
        assert names(foreman, 3) == ["job-0", "job-1", "job-2"]


def test_jobs_are_taken_only_when_somebody_is_free() -> None:
    taken = []

    def jobs():
        for number in range(100):
            taken.append(number)
            yield job(number)

    with Foreman(Alone(lambda: done)) as foreman:
        next(foreman.run(jobs()))
    assert len(taken) <= 2
