"""Distribution of jobs over workers that may die; a dead worker's job is given to another."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Any, Protocol, runtime_checkable

from worldeval.errors import UserError
from worldeval.evaluate.workers.jobs import BatchFailed, Job, Result

PATIENCE = 3  # deaths allowed for one job, or during start-up, before it is an error


class Ready:
    """First message of a worker, sent when it has loaded everything."""


class Died:
    """Message about a worker that has died."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Hung(Died):
    """A worker that was terminated because its policy did not answer; its job is not retried."""


@runtime_checkable
class Crew(Protocol):
    """A kind of worker: processes of this machine, or actors of a cluster."""

    size: int  # number of simultaneous workers

    def hire(self) -> Hashable:
        """Start a worker, which sends Ready when it has loaded everything."""
        ...

    def give(self, worker: Any, job: Job) -> None:
        """Give a job to an idle worker."""
        ...

    def wait(self, workers: Collection[Any]) -> list[tuple[Any, Ready | Died | Result]]:
        """Return the next messages of these workers, blocking until there is one."""
        ...

    def close(self) -> None:
        """Terminate every worker at once, busy or not."""
        ...


class Foreman:
    """Context manager that keeps a crew at work through any number of runs."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._idle: list[Hashable] = []
        self._busy: dict[Hashable, Job | None] = {}  # None during start-up
        self._false_starts = 0

    def __enter__(self) -> "Foreman":
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.close()

    def run(self, jobs: Iterator[Job]) -> Iterator[Result]:
        """Yield the outcome of every job as it arrives; a job is taken only if a worker is free.

        Raises:
            UserError: workers die before they are ready for a job.
        """
        again: deque[Job] = deque()
        deaths: Counter[str] = Counter()
        following = _Lookahead(jobs, again)
        while True:
            self._fill(following)
            if not following.job() and not any(self._busy.values()):
                return
            for worker, said in self._crew.wait(tuple(self._busy)):
                job = self._busy.pop(worker)
                if not isinstance(said, Died):
                    self._idle.append(worker)
                    self._false_starts = 0
                    if job is not None and not isinstance(said, Ready):
                        yield said
                elif isinstance(said, Hung) and job is not None:
                    yield BatchFailed(job=job, error=said.reason, hung=True)
                elif job is None:
                    self._false_starts += 1
                    if self._false_starts >= PATIENCE:
                        raise UserError(f"Workers end while they start: {said.reason}")
                else:
                    deaths[job.name] += 1
                    if deaths[job.name] < PATIENCE:
                        again.append(job)
                    else:
                        yield BatchFailed(
                            job=job, error=f"{PATIENCE} workers ended while doing it: {said.reason}"
                        )

    def _fill(self, following: "_Lookahead") -> None:
        """Give jobs to idle workers, and hire more while there is work for them."""
        while self._idle and (job := following.job()):
            worker = self._idle.pop()
            following.take()
            self._busy[worker] = job
            self._crew.give(worker, job)
        starting = sum(job is None for job in self._busy.values())
        hired = len(self._busy) + len(self._idle)
        if hired < self._crew.size and following.more_than(starting):
            self._busy[self._crew.hire()] = None
            self._fill(following)


class Alone:
    """A crew that is just this process; `make` returns the function that does a job."""

    size = 1

    def __init__(self, make: Callable[[], Callable[[Job], Result]]) -> None:
        self._make = make
        self._do: Callable[[Job], Result] | None = None
        self._job: Job | None = None

    def hire(self) -> Hashable:
        return "this process"

    def give(self, worker: Any, job: Job) -> None:
        self._job = job

    def wait(self, workers: Collection[Any]) -> list[tuple[Any, Ready | Died | Result]]:
        (worker,) = workers
        if self._do is None:
            self._do = self._make()
            return [(worker, Ready())]
        assert self._job is not None
        return [(worker, self._do(self._job))]

    def close(self) -> None:
        self._do = None


class _Lookahead:
    """Queue of returned jobs, followed by new ones, a few of which are taken in advance."""

    def __init__(self, jobs: Iterator[Job], again: deque[Job]) -> None:
        self._jobs, self._again = jobs, again
        self._ahead: deque[Job] = deque()

    def job(self) -> Job | None:
        """Return the next job without removing it; None if there is none."""
        if self._again:
            return self._again[0]
        return self._ahead[0] if self.more_than(0) else None

    def take(self) -> None:
        (self._again or self._ahead).popleft()

    def more_than(self, count: int) -> bool:
        """Whether more than `count` jobs are waiting."""
        while len(self._again) + len(self._ahead) <= count:
            job = next(self._jobs, None)
            if job is None:
                return False
            self._ahead.append(job)
        return True
