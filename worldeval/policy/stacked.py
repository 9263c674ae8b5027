"""Policies that act at every controller step, in a world whose frames last several steps."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.errors import UserError
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.record import Observation


class Stacked:
    """`policy`, with `steps` of its consecutive actions forming the action of one world frame.

    Steps left over at the end of a chunk are not executed.
    """

    def __init__(self, policy: Policy, steps: int) -> None:
        """Raises UserError if the policy needs observations within a world frame."""
        spec = policy.spec
        if spec.chunk < steps:
            raise UserError(
                f"Policy {spec.name} gives {spec.chunk} steps per chunk, but a world frame lasts "
                f"{steps} steps and has no observation in between. Train it on world frames (a "
                "dataset from `worldeval export`), or use longer chunks."
            )
        if spec.history > 1:
            raise UserError(
                f"Policy {spec.name} reads {spec.history} of its own steps as history, but a world "
                f"frame lasts {steps} steps and has no observation in between. Train it on world "
                "frames (a dataset from `worldeval export`)."
            )
        self._policy, self._steps = policy, steps
        said_by = spec.replan_said_by and f"{spec.replan_said_by}, {steps} steps per frame"
        self._spec = replace(
            spec,
            action_dim=spec.action_dim * steps,
            chunk=spec.chunk // steps,
            replan=None if spec.replan is None else max(1, spec.replan // steps),
            replan_said_by=said_by,
            fps=None if spec.fps is None else spec.fps / steps,
        )

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes."""
        self._policy.reset(tasks, seeds)

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return the policy's chunk, with `steps` of its actions per world frame."""
        chunk = np.asarray(self._policy.act(observation), np.float32)
        frames = chunk.shape[1] // self._steps
        return chunk[:, : frames * self._steps].reshape(len(chunk), frames, -1)
