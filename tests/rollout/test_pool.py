"""Processes for simulators: they give results, and are gone at once when something breaks."""

import multiprocessing as mp
import time
from multiprocessing.connection import wait

import pytest

from worldeval.rollout.pool import short_lived


def test_results_come_back() -> None:
    with short_lived(1) as pool:
        assert pool.submit(abs, -3).result() == 3


def test_an_exception_does_not_wait_for_the_work() -> None:
    before = set(mp.active_children())
    with pytest.raises(KeyboardInterrupt), short_lived(1) as pool:
        pool.submit(time.sleep, 3600)
        raise KeyboardInterrupt
    for child in set(mp.active_children()) - before:
        # Not is_alive(): the pool's own thread may be reaping the process at this moment.
        assert wait([child.sentinel], 60)
