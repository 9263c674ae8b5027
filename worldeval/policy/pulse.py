"""Record when a process began to wait for a policy, for an external watchdog to read.

Policies are third-party code. One that hangs may cost only its own episodes, so every call of a
policy is timed, including its loading, and the parent process ends a worker that waits too long.
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

HUNG = 75  # exit status of a worker that ended itself because of a policy


@runtime_checkable
class Pulse(Protocol):
    """When the current policy call began, by the machine's clock; 0: no call."""

    value: float


class OwnPulse:
    """A pulse that only this process reads."""

    value = 0.0


_pulse: Pulse = OwnPulse()


def beat_into(pulse: Pulse) -> None:
    """Publish this process's policy calls in `pulse`, which another process reads."""
    global _pulse
    _pulse = pulse


def waited(pulse: Pulse) -> float:
    """Seconds since the current call began; 0 if there is none."""
    begun = pulse.value
    return monotonic() - begun if begun else 0.0


@contextmanager
def waiting() -> Iterator[None]:
    """Mark this process as waiting for a policy during the block."""
    _pulse.value = monotonic()
    try:
        yield
    finally:
        _pulse.value = 0.0


def end_when_hung(seconds: float) -> None:
    """End this process if it waits longer for a policy; for workers without a watchdog."""

    def watch() -> None:
        while waited(_pulse) <= seconds:
            sleep(min(1.0, seconds / 4))
        os._exit(HUNG)

    Thread(target=watch, daemon=True).start()


class WatchedPolicy:
    """`policy` with every call recorded in the pulse."""

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
        """Return the policy's chunk."""
        with waiting():
            return self._policy.act(observation)

    def settle(self) -> None:
        """End a batch; checks that a server has not sent unrequested answers."""
        inner: Any = self._policy
        while inner is not None and not hasattr(inner, "settle"):  # labels and adapters around it
            inner = getattr(inner, "policy", None) or getattr(inner, "_policy", None)
        if inner is not None:
            with waiting():
                inner.settle()
