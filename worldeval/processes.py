"""Processes that end with their parent, and words for how one ended."""

import multiprocessing as mp
import os
import signal
from multiprocessing.process import BaseProcess
from threading import Thread


def watch_parent() -> None:
    """Ignore Ctrl-C, about which the parent decides, and end this process with its parent.

    Ctrl-C reaches every process of a terminal. A process that waits for a message from a parent
    that was killed would otherwise wait forever, because it may hold both ends of the pipe.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=leave_with, args=(mp.parent_process(),), daemon=True).start()


def leave_with(parent: BaseProcess | None) -> None:
    """Wait for the parent, and end this process when the parent is gone."""
    if parent is not None:
        parent.join()
        os._exit(1)


def why_gone(code: int) -> str:
    """Explain a process's exit status."""
    if code == -signal.SIGKILL:
        return "a process was killed, which the system does when memory runs out"
    return f"a process ended with {f'signal {-code}' if code < 0 else f'status {code}'}"
