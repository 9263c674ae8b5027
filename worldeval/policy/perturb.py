"""Deliberately perturbed policies, to collect failures that look like real ones.

Sizes are in units of half the range of an action, which is [-1, 1] unless other bounds are given.

An episode's perturbations are drawn from its own seed, so they do not depend on the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.errors import UserError
from worldeval.policy.builtin import STEP_DIM, ColouredNoise
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.record import Observation

HAND_ONLY = (
    "Perturbations are made for a hand that is moved by dx, dy and dz. For another robot, record "
    "the policies as they are: --set perturbed=0."
)
FAR = 4.0  # half ranges from the middle; a policy that exceeds its bounds a little is clipped


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """The share of episodes with each perturbation, and its size. Perturbations may coincide."""

    bias_share: float = 0.25
    bias_std: float = 0.25  # of each of dx, dy, dz: a constant bias
    scale_share: float = 0.2
    scale_range: tuple[float, float] = (0.4, 1.4)  # of the whole action
    noise_share: float = 0.2
    noise_std: float = 0.4
    noise_memory: float = 0.9  # autocorrelation between simulator steps
    pose_share: float = 0.2
    pose_std: float = 0.015  # metres, of a constant error of the observed position
    slow_share: float = 0.0
    slow_range: tuple[float, float] = (0.4, 0.9)  # of the commanded motion, not of the gripper


class Perturbed:
    """A policy with `Perturbation` applied to its observations and actions.

    Actions are steps of `step_dim` numbers within `low` and `high`, of which the first three (or
    all, if there are fewer) move the robot; scaling makes sense for motions, not for targets. A
    disturbed pose begins with x, y and z in metres.

    Raises:
        UserError: the policy's actions, or the poses that it observes, are not such.
    """

    def __init__(
        self,
        policy: Policy,
        perturbation: Perturbation,
        *,
        step_dim: int = STEP_DIM,
        low: Float32[Array, " a"] | float = -1.0,
        high: Float32[Array, " a"] | float = 1.0,
    ) -> None:
        if policy.spec.action_dim % step_dim:
            raise UserError(
                f"Policy {policy.spec.name} gives {policy.spec.action_dim} numbers per action, "
                f"which are no steps of {step_dim}. {HAND_ONLY}"
            )
        self._policy = policy
        self._low, self._high = np.asarray(low), np.asarray(high)
        self._how = perturbation
        self._step_dim = step_dim
        self._spec = replace(policy.spec, name=f"{policy.spec.name}+perturbed")
        self._noise = ColouredNoise(step_dim, size=1.0, memory=perturbation.noise_memory)
        self._gain = self._bias = self._noise_std = np.zeros((0, 1))
        self._offset = np.zeros((0, 3), np.float32)

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Draw every episode's perturbations."""
        self._policy.reset(tasks, seeds)
        rngs = [np.random.default_rng([seed, 2]) for seed in seeds]
        drawn = [self._draw(rng) for rng in rngs]
        self._gain, self._bias, self._noise_std, self._offset = (
            np.stack(part) for part in zip(*drawn, strict=True)
        )
        self._noise.reset(rngs)

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        chunk = self._policy.act(observation.each(self._misled))
        _, frames, action_dim = chunk.shape
        repeats = action_dim // self._step_dim
        gain, bias = (np.tile(part, (1, repeats))[:, None] for part in (self._gain, self._bias))
        noise = self._noise.chunk(frames, action_dim) * self._noise_std[:, None]
        half = (self._high - self._low) / 2
        if (np.abs(chunk - (self._high + self._low) / 2) > FAR * half).any():
            raise UserError(
                f"The actions of {self._policy.spec.name} lie far outside [{self._low.min():g}, "
                f"{self._high.max():g}], so perturbations of that size would make no sense. Set "
                "'perturbed: 0'."
            )
        moved = chunk * gain + (bias + noise) * half
        return np.clip(moved, self._low, self._high).astype(np.float32)

    def _misled(self, moment: Observation) -> Observation:
        pose = moment.pose.copy()
        if pose.shape[1] < 3 and self._how.pose_share:
            raise UserError(f"A pose of {pose.shape[1]} numbers has no x, y and z. {HAND_ONLY}")
        pose[:, :3] += self._offset[:, : pose.shape[1]]
        return replace(moment, pose=pose)

    def _draw(self, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
        """Gain and bias of a simulator step's action, noise deviation, offset of the pose."""
        how = self._how
        # All numbers are drawn even if unused, so that changing one share leaves the others alone.
        bias, scale = rng.normal(0, how.bias_std, 3), rng.uniform(*how.scale_range)
        slow, offset = rng.uniform(*how.slow_range), rng.normal(0, how.pose_std, 3)
        suffers = rng.random(5) < (
            how.bias_share,
            how.scale_share,
            how.noise_share,
            how.pose_share,
            how.slow_share,
        )
        gain, push = np.ones(self._step_dim), np.zeros(self._step_dim)
        if suffers[0]:
            push[:3] = bias[: self._step_dim]
        if suffers[1]:
            gain *= scale
        if suffers[4]:
            gain[:3] *= slow
        noise = np.array([how.noise_std if suffers[2] else 0.0])
        return gain, push, noise, (offset * suffers[3]).astype(np.float32)


class Switched:
    """One policy, then another: each episode switches at a frame drawn from its seed.

    `frames_per_call` is the number of frames of a chunk that the harness executes
    (`replan_every`); the switch happens at the first call at or after the drawn frame.
    """

    def __init__(
        self,
        first: Policy,
        second: Policy,
        *,
        between: tuple[int, int] = (4, 20),  # world frames, both included
        frames_per_call: int = 1,
    ) -> None:
        self._policies = (first, second)
        self._between = between
        self._frames_per_call = frames_per_call
        one, two = first.spec, second.spec
        if one.action_dim != two.action_dim:
            raise ValueError(f"{one.name} and {two.name} have actions of different sizes")
        if frames_per_call > min(one.chunk, two.chunk):
            raise ValueError(f"frames_per_call {frames_per_call} is longer than a policy's chunk")
        self._spec = replace(
            one,
            name=f"{one.name}>{two.name}",
            views=tuple(dict.fromkeys(one.views + two.views)),
            chunk=min(one.chunk, two.chunk),
            history=max(one.history, two.history),
            replan=frames_per_call,
            replan_said_by="switching happens at calls",
        )
        self._frame = 0
        self._at = np.zeros(0, np.int64)

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Draw every episode's switching frame."""
        for policy in self._policies:
            policy.reset(tasks, seeds)
        low, high = self._between
        rngs = (np.random.default_rng([seed, 3]) for seed in seeds)
        self._at = np.array([rng.integers(low, high + 1) for rng in rngs])
        self._frame = 0

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        # Both act at every call, so that each keeps its own time.
        first, second = (policy.act(seen_by(policy, observation)) for policy in self._policies)
        chunk = self._spec.chunk
        late = (self._frame >= self._at)[:, None, None]
        self._frame += self._frames_per_call
        return np.where(late, second[:, :chunk], first[:, :chunk])


def seen_by(policy: Policy, observation: Observation) -> Observation:
    """Copy an observation with as much history as the policy reads."""
    past = observation.past[len(observation.past) - (policy.spec.history - 1) :]
    return replace(observation, past=past).own()
