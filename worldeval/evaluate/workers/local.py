"""Workers as processes of this machine. One that is killed is replaced; none outlives this one."""

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
from worldeval.evaluate.workers.spread import Died, Ready

Do = Callable[[Job], Result]
GONE = (EOFError, ConnectionResetError, BrokenPipeError)


class Processes:
    """A crew of `size` processes. `make(*given)` is called in each and gives what does a job."""

    def __init__(self, size: int, make: Callable[..., Do], *given: Any) -> None:
        self.size = size
        self._make, self._given = make, given
        # A fresh process instead of a fork: torch's threads do not survive a fork.
        self._context = mp.get_context("spawn")
        self._workers: dict[Connection, BaseProcess] = {}
        self._hired = 0

    def hire(self) -> Connection:
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(there, self._hired, self._make, *self._given), daemon=True
        )
        process.start()
        self._hired += 1
        there.close()  # the worker alone holds it: here is closed when the worker is gone
        self._workers[here] = process
        return here

    def give(self, worker: Connection, job: Job) -> None:
        with suppress(*GONE):  # of a dead one, `wait` says so
            worker.send(job)

    def wait(self, workers: Collection[Connection]) -> list[tuple[Any, Ready | Died | Result]]:
        said = []
        for worker in wait(list(workers)):
            assert isinstance(worker, Connection)
            try:
                said.append((worker, worker.recv()))
            except GONE:
                said.append((worker, self._dead(worker)))
        return said

    def close(self) -> None:
        for worker, process in self._workers.items():
            process.kill()  # what it was at is not kept: nothing can be lost
            process.join()
            worker.close()
        self._workers.clear()

    def _dead(self, worker: Connection) -> Died:
        process = self._workers.pop(worker)
        process.join()
        worker.close()
        code = process.exitcode or 0
        if code == -signal.SIGKILL:
            return Died("a process was killed, as the system does when memory is short")
        return Died(f"a process ended with {f'signal {-code}' if code < 0 else f'status {code}'}")


def _work(there: Connection, turn: int, make: Callable[..., Do], *given: Any) -> None:
    os.environ[TURN] = str(turn)
    # Ctrl-C reaches every process of the terminal; the one that gave the jobs decides.
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
        except GONE:  # whoever gave the jobs is no more
            return
        try:
            there.send(do(job))
        except GONE:
            return
