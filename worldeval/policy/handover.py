"""A policy that hands over to another one: the first acts until a frame, the second from there.

The second one watches from the start: it is reset with the first, asked at its own times, and its
answers count once it acts. So a policy that remembers earlier frames has seen the shared history.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import gcd

import numpy as np

from worldeval.axes import Array, Float32, Int
from worldeval.policy.perturb import seen_by
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.record import Observation


class HandOver:
    """`first` until the frame `at`, then `second`; both are asked as often as on their own."""

    def __init__(
        self, first: Policy, second: Policy, *, at: int | Sequence[int], replan_every: int
    ) -> None:
        """`at` is of every episode, or one for all; `replan_every` is the protocol's."""
        one, two = first.spec, second.spec
        if one.action_dim != two.action_dim:
            raise ValueError(f"{one.name} and {two.name} have actions of different sizes")
        self._policies, self._given = (first, second), at
        self._every = tuple(spec.replans(replan_every) for spec in (one, two))
        period = gcd(*self._every)
        self._spec = replace(
            one,
            name=f"{one.name}>{two.name}",
            lineage=f"{one.lineage}>{two.lineage}",
            views=tuple(dict.fromkeys(one.views + two.views)),
            chunk=period,
            history=max(one.history, two.history),
            replan=period,
            replan_said_by="hand-over",
        )
        self._frame, self._at = 0, np.zeros(0, np.int64)
        self._left: list[Float32[Array, "b k a"]] = []

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes with both policies."""
        for policy in self._policies:
            policy.reset(tasks, seeds)
        self._frame = 0
        self._at: Int[Array, " b"] = np.broadcast_to(np.asarray(self._given), len(tasks))

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return the next frames of whichever policy acts."""
        period = self._spec.chunk
        if self._frame == 0:
            self._left = [np.zeros((len(observation), 0, self._spec.action_dim), np.float32)] * 2
        for side, policy in enumerate(self._policies):
            if not self._left[side].shape[1]:
                chunk = np.array(policy.act(seen_by(policy, observation)), np.float32)
                self._left[side] = chunk[:, : self._every[side]]
        first, second = (left[:, :period] for left in self._left)
        self._left = [left[:, period:] for left in self._left]
        late = (self._frame >= self._at)[:, None, None]
        self._frame += period
        return np.where(late, second, first)
