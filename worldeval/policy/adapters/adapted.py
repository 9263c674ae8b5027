"""A policy wrapped in an adapter, which acts in a world with another action space."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.data.space_text import read_space, with_units, write_space
from worldeval.errors import UserError
from worldeval.policy.adapters.motion import Adapter
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.record import Observation


class AdaptedPolicy:
    """`policy` acting in the world of `adapter`."""

    def __init__(self, policy: Policy, adapter: Adapter) -> None:
        """Raises UserError if the adapter does not take the policy's actions."""
        spec, takes = policy.spec, adapter.policy
        if spec.space and read_space(spec.space) != takes:
            said = with_units(read_space(spec.space))
            raise UserError(
                f"Policy {spec.name} commands {said}, but the adapter takes {with_units(takes)}."
            )
        if spec.action_dim != takes.size:
            raise UserError(
                f"Policy {spec.name} gives {spec.action_dim} values per step, but the adapter "
                f"takes {with_units(takes)}."
            )
        if spec.chunk < adapter.steps:
            raise UserError(
                f"Policy {spec.name} gives {spec.chunk} steps per chunk, but a world frame of the "
                f"adapter takes {adapter.steps}."
            )
        if adapter.steps != 1 and spec.history > 1:
            raise UserError(
                f"Policy {spec.name} reads {spec.history} of its own steps as history, but a world "
                f"frame of the adapter lasts {adapter.steps} steps, so that observations are not "
                "those of its steps."
            )
        self._policy, self._adapter = policy, adapter
        self._spec = replace(
            spec,
            action_dim=adapter.width,
            chunk=int(spec.chunk / adapter.steps),
            replan=None if spec.replan is None else max(1, int(spec.replan / adapter.steps)),
            fps=None,  # that of the world's controller
            space=write_space(adapter.world),
        )

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes."""
        self._policy.reset(tasks, seeds)
        self._adapter.begin(len(tasks))

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Convert the policy's chunk to world frames. NaN and infinities remain, to be counted."""
        chunk = np.array(self._policy.act(observation.each(self._sensed)), np.float32)
        broken = np.flatnonzero(~np.isfinite(chunk).all(axis=(1, 2)))
        chunk[broken] = 0
        turned = self._adapter.turn(chunk)
        turned[broken] = np.nan
        return turned

    def _sensed(self, moment: Observation) -> Observation:
        return replace(moment, pose=self._adapter.sense(np.array(moment.pose, np.float32)))
