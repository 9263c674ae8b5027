"""The chunk queue: when to query a policy, and how many frames of its chunk to execute."""

from collections.abc import Callable

import numpy as np

from worldeval.axes import Array, Float32, Int
from worldeval.errors import UserError
from worldeval.policy.protocol import Policy
from worldeval.record import Observation
from worldeval.rollout.actions import clip


class ChunkQueue:
    """Give out one frame's actions at a time, and query the policy again after enough of them.

    The policy's authors may say after how many (`spec.replan`: LeRobot's `n_action_steps`, one
    frame with temporal ensembling); otherwise `replan_every` does. Actions that are outside
    [low, high] or not finite are clipped (NaN to 0) and counted.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        replan_every: int,
        low: float | Float32[Array, " a"] = -1.0,  # of every number, or one for all
        high: float | Float32[Array, " a"] = 1.0,
    ) -> None:
        self._policy, self._low, self._high = policy, low, high
        self.replan_every = policy.spec.replans(replan_every)
        self._left: list[Float32[Array, "b a"]] = []
        # Numbers of each episode that had to be clipped or replaced, and numbers received in total.
        self.clipped_each: Int[Array, " b"] = np.zeros(0, np.int64)
        self.given = 0

    @property
    def empty(self) -> bool:
        """Whether the next call of `next` queries the policy and so needs an observation."""
        return not self._left

    @property
    def looks(self) -> bool:
        """Whether the policy will see the frame that the actions so far lead to: it is queried
        there, or soon enough afterwards for the frame to be in its history."""
        return len(self._left) < self._policy.spec.history

    @property
    def clipped(self) -> int:
        """Total numbers that had to be clipped or replaced."""
        return int(self.clipped_each.sum())

    def next(self, observe: Callable[[], Observation], action_dim: int) -> Float32[Array, "b a"]:
        """Return the next world frame's actions; `observe` is called only to query the policy."""
        return self.take(observe, action_dim, most=1)[:, 0]

    def take(
        self, observe: Callable[[], Observation], action_dim: int, *, most: int
    ) -> Float32[Array, "b k a"]:
        """Return the actions up to the next query: at least one world frame, at most `most`."""
        if self.empty:
            self._left = list(np.moveaxis(self._asked(observe(), action_dim), 1, 0))
        taken, self._left = np.stack(self._left[:most], 1), self._left[most:]
        clipped = clip(taken, self._low, self._high)
        self.clipped_each = clipped.count + (self.clipped_each if self.given else 0)
        self.given += clipped.actions.size
        return clipped.actions

    def _asked(self, seen: Observation, action_dim: int) -> Float32[Array, "b k a"]:
        spec, episodes = self._policy.spec, len(seen)
        if len(seen.past) != spec.history - 1:
            raise UserError(
                f"Policy {spec.name} needs {spec.history} frames of history; got "
                f"{len(seen.window)}."
            )
        # Copy both ways: a policy may modify its input and reuse its output.
        chunk = np.array(self._policy.act(seen.own()), np.float32)
        if chunk.ndim != 3 or chunk.shape[2] != action_dim or len(chunk) != episodes:
            raise UserError(
                f"Policy {spec.name} gave actions of shape {chunk.shape}; "
                f"expected (episodes, chunk, {action_dim}) with {episodes} episodes."
            )
        if chunk.shape[1] < 1:
            raise UserError(f"Policy {spec.name} gave an empty chunk; at least 1 action is needed.")
        return chunk[:, : self.replan_every]
