"""Policies that act at every step of the controller, in a world whose frames last several."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.errors import UserError
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.record import Observation


class Stacked:
    """`policy`, `steps` of whose actions in a row are the action of one world frame.

    What is left over at the end of a chunk is not carried out.
    """

    def __init__(self, policy: Policy, steps: int) -> None:
        """Raises UserError where the policy has to see what happens within a world frame."""
        spec = policy.spec
        if spec.chunk < steps:
            raise UserError(
                f"Policy {spec.name} gives {spec.chunk} steps at a time and is then asked again; "
                f"a world frame lasts {steps}, and shows nothing in between. Train it on world "
                "frames (a dataset of `worldeval export`), or give it longer chunks."
            )
        if spec.history > 1:
            raise UserError(
                f"Policy {spec.name} looks at {spec.history} of its own steps together; a world "
                f"frame lasts {steps} of them and shows none in between. Train it on world frames "
                "(a dataset of `worldeval export`)."
            )
        self._policy, self._steps = policy, steps
        said_by = spec.replan_said_by and f"{spec.replan_said_by}, {steps} steps to a frame"
        self._spec = replace(
            spec,
            action_dim=spec.action_dim * steps,
            chunk=spec.chunk // steps,
            replan=None if spec.replan is None else max(1, spec.replan // steps),
            replan_said_by=said_by,
        )

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes."""
        self._policy.reset(tasks, seeds)

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """The policy's chunk, so many of its steps to a world frame."""
        chunk = np.asarray(self._policy.act(observation), np.float32)
        frames = chunk.shape[1] // self._steps
        return chunk[:, : frames * self._steps].reshape(len(chunk), frames, -1)
