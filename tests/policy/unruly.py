"""Policies that do what no policy should, named in tests as tests.policy.unruly:<name>."""

import os
import signal
import sys
import time
from typing import Any

import numpy as np

from worldeval.policy.builtin import Zero


class _Unruly(Zero):
    def __init__(self) -> None:
        super().__init__(action_dim=8)

    def act(self, observation: Any) -> np.ndarray:
        self.misbehave()
        return super().act(observation)

    def misbehave(self) -> None:
        raise NotImplementedError


class Exits(_Unruly):
    def misbehave(self) -> None:
        sys.exit(0)


class Leaves(_Unruly):
    def misbehave(self) -> None:
        os._exit(0)


class Killed(_Unruly):
    def misbehave(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


class Interrupts(_Unruly):
    def misbehave(self) -> None:
        raise KeyboardInterrupt


class Hangs(_Unruly):
    def misbehave(self) -> None:
        time.sleep(1000)


def exits_while_loading() -> Any:
    sys.exit(0)


def leaves_while_loading() -> Any:
    os._exit(0)


def hangs_while_loading() -> Any:
    time.sleep(1000)


def well() -> Any:
    return Zero(action_dim=8)


class Pushes(Zero):
    def act(self, observation: Any) -> np.ndarray:
        return super().act(observation) + np.float32(0.5)


def pushes() -> Any:
    return Pushes(action_dim=8)
