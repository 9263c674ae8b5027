"""Process pools for simulators that end at once when interrupted and leave no process behind."""

import multiprocessing as mp
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from worldeval.processes import watch_parent


@contextmanager
def short_lived(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes do one job each: a second renderer in one would show garbage.

    An exception or Ctrl-C ends the processes instead of waiting for all submitted jobs.
    """
    others = set(mp.active_children())
    pool = ProcessPoolExecutor(
        processes,
        mp_context=mp.get_context("spawn"),
        initializer=watch_parent,
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
