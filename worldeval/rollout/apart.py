"""Run jobs with third-party code, each in a process of its own.

Whatever that code does (raise, `sys.exit`, `os._exit`, die from a signal, hang), it ends only its
own job: the parent process is informed and continues.
"""

import multiprocessing as mp
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from worldeval.errors import UserError
from worldeval.policy.pulse import Pulse, beat_into, waited
from worldeval.processes import watch_parent, why_gone

LOOK = 0.5  # seconds between checks on processes that have sent nothing
GONE = (EOFError, ConnectionResetError, BrokenPipeError)

J = TypeVar("J")
Say = Callable[[Any], None]


@dataclass(frozen=True)
class Finished:
    """A process's last message: how it ended."""

    error: str | None = None
    mistake: bool = False  # a user error, whose message is complete


def run_apart(
    jobs: deque[J],
    work: Callable[[J, Say], None],
    *,
    processes: int,
    policy_timeout: float | None,
    heard: Callable[[J, Any], None],
    ended: Callable[[J, str | None], None],
) -> None:
    """Run every job, `processes` at a time; both callbacks run in this process.

    Args:
        jobs: taken from the left; `ended` may add to them.
        work: called in a process of its own with the job and a function that sends to `heard`.
        policy_timeout: seconds that a policy call may take.
        ended: called for every job with the reason why it ended early, or None.

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
                # Not a daemon, because a job may start processes: each simulator has its own.
                process = context.Process(target=_work, args=(there, pulse, work, job))
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
    """Error text for a policy that was stopped because it did not answer."""
    return f"the policy did not answer within {seconds:g} s; increase --policy-timeout"


def told(error: BaseException) -> str:
    """Format an exception of third-party code as one line of a report."""
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
    watch_parent()
    try:
        work(job, there.send)
        there.send(Finished())
    except UserError as error:
        there.send(Finished(error=str(error), mistake=type(error) is UserError))
    except BaseException as error:
        there.send(Finished(error=told(error)))
