"""Process pools for simulators that end at once when interrupted and leave no process behind."""

import multiprocessing as mp
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from threading import Thread


@contextmanager
def short_lived(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes do one job each: a second renderer in one would show garbage.

    An exception or Ctrl-C ends the processes instead of waiting for all submitted jobs.
    """
    others = set(mp.active_children())
    pool = ProcessPoolExecutor(
        processes,
        mp_context=mp.get_context("spawn"),
        initializer=_watch_parent,
        max_tasks_per_child=1,
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(mp.active_children()) - others:
            child.terminate()
        raise
    pool.shutdown()


def _watch_parent() -> None:
    # Ctrl-C reaches every process of the terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A pool's process holds both ends of its queue, so it would wait forever for a parent that was
    # killed.
    Thread(target=leave_with, args=(mp.parent_process(),), daemon=True).start()


def leave_with(parent: BaseProcess | None) -> None:
    """Wait for the parent, and end this process when the parent is gone."""
    if parent is not None:
        parent.join()
        os._exit(1)
