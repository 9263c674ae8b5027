"""Workers as processes of this machine; killed ones are replaced, and none outlives the parent."""

import multiprocessing as mp
import os
import signal
from collections.abc import Callable, Collection
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from worldeval.device import TURN
from worldeval.evaluate.workers.jobs import Job, Result
from worldeval.evaluate.workers.spread import Died, Hung, Ready
from worldeval.policy.pulse import Pulse, beat_into, waited
from worldeval.processes import why_gone
from worldeval.rollout.apart import hung

Do = Callable[[Job], Result]
LOOK = 0.5  # seconds between two polls of silent workers
GONE = (EOFError, ConnectionResetError, BrokenPipeError)


class Processes:
    """A crew of `size` processes, each of which calls `make(*given)` to get its job function."""

    def __init__(
        self, size: int, make: Callable[..., Do], *given: Any, policy_timeout: float | None = None
    ) -> None:
        """A worker that waits more than `policy_timeout` seconds for its policy is terminated."""
        self.size, self._timeout = size, policy_timeout
        self._pulses: dict[Connection, Pulse] = {}
        self._make, self._given = make, given
        # A fresh process instead of a fork, because torch's threads do not survive a fork.
        self._context = mp.get_context("spawn")
        self._workers: dict[Connection, BaseProcess] = {}
        self._hired = 0

    def hire(self) -> Connection:
        here, there = self._context.Pipe()
        pulse = self._context.Value("d", 0.0, lock=False)
        process = self._context.Process(
            target=_work, args=(there, pulse, self._hired, self._make, *self._given), daemon=True
        )
        process.start()
        self._hired += 1
        there.close()  # only the worker holds it, so `here` closes when the worker ends
        self._workers[here], self._pulses[here] = process, pulse
        return here

    def give(self, worker: Connection, job: Job) -> None:
        with suppress(*GONE):  # if it is dead, `wait` reports it
            worker.send(job)

    def wait(self, workers: Collection[Connection]) -> list[tuple[Any, Ready | Died | Result]]:
        said: list[tuple[Any, Ready | Died | Result]] = []
        ready: list[Any] = []
        while not ready and not said:
            ready = wait(list(workers), LOOK if self._timeout else None)
            said = [] if ready else [(worker, self._hung(worker)) for worker in self._stuck()]
        for worker in ready:
            assert isinstance(worker, Connection)
            try:
                said.append((worker, worker.recv()))
            except GONE:
                said.append((worker, self._dead(worker)))
        return said

    def close(self) -> None:
        for worker, process in self._workers.items():
            process.kill()  # its unfinished job is not stored, so nothing can be lost
            process.join()
            worker.close()
        self._workers.clear()
        self._pulses.clear()

    def _stuck(self) -> list[Connection]:
        """Find the workers that have waited too long for their policy."""
        limit = self._timeout or 0.0
        return [worker for worker, pulse in self._pulses.items() if waited(pulse) > limit > 0]

    def _hung(self, worker: Connection) -> Hung:
        process = self._workers.pop(worker)
        del self._pulses[worker]
        process.kill()
        process.join()
        worker.close()
        return Hung(hung(self._timeout or 0.0))

    def _dead(self, worker: Connection) -> Died:
        process = self._workers.pop(worker)
        del self._pulses[worker]
        process.join()
        worker.close()
        return Died(why_gone(process.exitcode or 0))


def _work(there: Connection, pulse: Pulse, turn: int, make: Callable[..., Do], *given: Any) -> None:
    beat_into(pulse)
    os.environ[TURN] = str(turn)
    # Ctrl-C reaches every process of the terminal; only the parent process reacts to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        do = make(*given)
    except Exception as error:
        there.send(Died(f"{type(error).__name__}: {error}"))
        return
    there.send(Ready())
    while True:
        try:
            job = there.recv()
        except GONE:  # the parent process is gone
            return
        try:
            there.send(do(job))
        except GONE:
            return
