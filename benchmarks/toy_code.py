"""Policies and a simulator for the toy evaluation, named on the command line as code."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.envs.protocol import EnvFrame
from worldeval.policy.builtin import Zero
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

VIEWS, SIZE, ACTION, POSE, FPS = ("side", "top"), 16, 8, 4, 16.0


class Wrapped:
    """The checkpoint `ref` under another name; rewrites its observation where it is told to."""

    def __init__(self, ref: str, name: str, spoils: bool = False) -> None:
        self._policy, self._spoils = load_policy(ref), spoils
        self.spec: PolicySpec = replace(self._policy.spec, name=str(name), lineage=str(name))

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch."""
        self._policy.reset(tasks, seeds)

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """The checkpoint's chunk."""
        chunk = self._policy.act(observation)
        if self._spoils:
            observation.pose[:] = (observation.pose - 5) / 0.1
            for picture in observation.frames.values():
                picture[:] = 0
        return chunk


class NotFinite(Zero):
    """Answers NaN and infinity."""

    def __init__(self) -> None:
        super().__init__(action_dim=ACTION)

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Not a number, and one beyond all."""
        chunk = np.array(super().act(observation))
        chunk[..., 0], chunk[..., 1] = np.nan, np.inf
        return chunk


class Simulator:
    """Moves the pose by every action; success is a first coordinate that has grown."""

    views, action_dim, fps = VIEWS, ACTION, FPS

    def __init__(self, steps_per_frame: int) -> None:
        self.steps_per_frame = steps_per_frame

    def reset(self, seed: int) -> EnvFrame:
        """The start of a seed."""
        rng = np.random.default_rng(seed)
        self.begun = self.pose = rng.uniform(-0.5, 0.5, POSE).astype(np.float32)
        shape = (SIZE, SIZE, 3)
        self.frames = {view: rng.integers(0, 256, shape, np.uint8) for view in VIEWS}
        return self._frame()

    def step(self, action: Float32[Array, " a"], *, look: bool = True) -> EnvFrame:
        """Move by half of the action."""
        self.pose = self.pose + 0.05 * action[:POSE]
        return self._frame()

    def close(self) -> None:
        """Nothing is open."""

    def _frame(self) -> EnvFrame:
        success = bool(self.pose[0] > self.begun[0] + 0.02)
        return EnvFrame(frames=self.frames, pose=self.pose, success=success)
