"""When a worker began to wait for a policy: what a watchdog outside of it looks at.

Policies are code of others. One that hangs must cost its own episodes and nothing else, so every
call of one is timed, its loading too, and whoever gave the job ends a worker that waits too long.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from time import monotonic, sleep
from typing import Any, Protocol, runtime_checkable

from worldeval.axes import Array, Float32
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.record import Observation

HUNG = 75  # exit status of a worker that ended itself over a policy


@runtime_checkable
class Pulse(Protocol):
    """When the call of a policy that is under way began, by the clock of the machine; 0: none."""

    value: float


class OwnPulse:
    """A pulse that only this process reads."""

    value = 0.0


_pulse: Pulse = OwnPulse()


def beat_into(pulse: Pulse) -> None:
    """Let the calls of this process show in `pulse`, which another process reads."""
    global _pulse
    _pulse = pulse


def waited(pulse: Pulse) -> float:
    """Seconds since the call under way began; 0 where there is none."""
    begun = pulse.value
    return monotonic() - begun if begun else 0.0


@contextmanager
def waiting() -> Iterator[None]:
    """For as long as the block lasts, this process waits for a policy."""
    _pulse.value = monotonic()
    try:
        yield
    finally:
        _pulse.value = 0.0


def end_when_hung(seconds: float) -> None:
    """End this process when it waits longer for a policy: for workers that nobody here watches."""

    def watch() -> None:
        while waited(_pulse) <= seconds:
            sleep(min(1.0, seconds / 4))
        os._exit(HUNG)

    Thread(target=watch, daemon=True).start()


class WatchedPolicy:
    """`policy`, every call of which shows in the pulse."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @property
    def spec(self) -> PolicySpec:
        return self._policy.spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes."""
        with waiting():
            self._policy.reset(tasks, seeds)

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """The policy's chunk."""
        with waiting():
            return self._policy.act(observation)

    def settle(self) -> None:
        """The end of a batch: a server may have said more than it was asked."""
        inner: Any = self._policy
        while inner is not None and not hasattr(inner, "settle"):  # labels and adapters around it
            inner = getattr(inner, "policy", None) or getattr(inner, "_policy", None)
        if inner is not None:
            with waiting():
                inner.settle()
