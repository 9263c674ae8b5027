"""Work that runs code of others, each piece in a process of its own.

Whatever that code does (raise, `sys.exit`, `os._exit`, a signal, hang), it ends its own piece: the
process that gave the work hears of it and goes on.
"""

import multiprocessing as mp
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, TypeVar

from worldeval.errors import UserError
from worldeval.policy.pulse import Pulse, beat_into, waited
from worldeval.rollout.pool import leave_with

LOOK = 0.5  # seconds between two looks at processes that say nothing
GONE = (EOFError, ConnectionResetError, BrokenPipeError)

J = TypeVar("J")
Say = Callable[[Any], None]


@dataclass(frozen=True)
class Finished:
    """The last that a process says: how it ended."""

    error: str | None = None
    mistake: bool = False  # the user's, to be read as it stands


def run_apart(
    jobs: deque[J],
    work: Callable[[J, Say], None],
    *,
    processes: int,
    policy_timeout: float | None,
    heard: Callable[[J, Any], None],
    ended: Callable[[J, str | None], None],
) -> None:
    """Do every job, so many at a time; both callbacks happen here.

    Args:
        jobs: taken from the left; `ended` may add to them.
        work: called in a process of its own with the job and what tells `heard` of it.
        policy_timeout: seconds that a call of a policy may take.
        ended: hears of every job why it ended early; None where it did not.

    Raises:
        UserError: raised by a job.
    """
    context = mp.get_context("spawn")
    running: dict[Any, tuple[BaseProcess, Pulse, J]] = {}
    try:
        while jobs or running:
            while jobs and len(running) < processes:
                job = jobs.popleft()
                here, there = context.Pipe()
                pulse = context.Value("d", 0.0, lock=False)
                process = context.Process(target=_work, args=(there, pulse, work, job), daemon=True)
                process.start()
                there.close()
                running[here] = (process, pulse, job)
            for line in wait(list(running), LOOK):
                said = _heard(line, running[line][0])
                if not isinstance(said, Finished):
                    heard(running[line][2], said)
                    continue
                process, _, job = running.pop(line)
                process.join()
                if said.mistake:
                    raise UserError(said.error)
                ended(job, said.error)
            limit = policy_timeout or 0.0
            for line in [line for line, (_, p, _) in running.items() if waited(p) > limit > 0]:
                process, _, job = running.pop(line)
                process.kill()
                process.join()
                ended(job, hung(limit))
    finally:
        for process, _, _ in running.values():
            process.kill()
            process.join()


def hung(seconds: float) -> str:
    """What is said of a policy that was ended for not answering."""
    return f"the policy did not answer within {seconds:g} s; give it longer with --policy-timeout"


def why_gone(code: int) -> str:
    """What the exit status of a process says."""
    if code == -signal.SIGKILL:
        return "a process was killed, as the system does when memory is short"
    return f"a process ended with {f'signal {-code}' if code < 0 else f'status {code}'}"


def told(error: BaseException) -> str:
    """An exception of others' code as one line of a report."""
    if isinstance(error, Exception):
        return str(error) or type(error).__name__
    return f"the policy raised {type(error).__name__}({error})"


def _heard(line: Any, process: BaseProcess) -> Any:
    try:
        return line.recv()
    except GONE:
        process.join()
        return Finished(error=why_gone(process.exitcode or 0))


def _work(there: Connection, pulse: Pulse, work: Callable[[Any, Say], None], job: Any) -> None:
    beat_into(pulse)
    # Ctrl-C reaches every process of the terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=leave_with, args=(mp.parent_process(),), daemon=True).start()
    try:
        work(job, there.send)
        there.send(Finished())
    except UserError as error:
        there.send(Finished(error=str(error), mistake=type(error) is UserError))
    except BaseException as error:
        there.send(Finished(error=told(error)))
