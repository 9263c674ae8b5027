"""The chunk queue: when a policy is asked, and how many frames of its answer are carried out."""

from collections.abc import Callable

import numpy as np

from worldeval.axes import Array, Float32, Int
from worldeval.errors import UserError
from worldeval.policy.protocol import Policy
from worldeval.record import Observation
from worldeval.rollout.actions import mend


class ChunkQueue:
    """Hands out one frame's actions at a time and replans every `replan_every` frames.

    Actions outside [low, high] or not finite are clipped (NaN as 0) and counted.
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
        self.replan_every = min(replan_every, policy.spec.chunk)
        self._left: list[Float32[Array, "b a"]] = []
        # Numbers of each episode that had to be clipped or replaced, and numbers given in all.
        self.mended_each: Int[Array, " b"] = np.zeros(0, np.int64)
        self.given = 0

    @property
    def empty(self) -> bool:
        """Whether the next `next` asks the policy, and so needs an observation."""
        return not self._left

    @property
    def mended(self) -> int:
        """Numbers that had to be clipped or replaced."""
        return int(self.mended_each.sum())

    def next(self, observe: Callable[[], Observation], action_dim: int) -> Float32[Array, "b a"]:
        """The next world frame's actions; `observe` is called only when the policy is asked."""
        return self.take(observe, action_dim, most=1)[:, 0]

    def take(
        self, observe: Callable[[], Observation], action_dim: int, *, most: int
    ) -> Float32[Array, "b k a"]:
        """The actions up to the next replan, of `most` world frames at most and one at least."""
        if self.empty:
            chunk = np.asarray(self._policy.act(observe()), np.float32)
            if chunk.ndim != 3 or chunk.shape[2] != action_dim:
                raise UserError(
                    f"Policy {self._policy.spec.name} gave actions of shape {chunk.shape}; "
                    f"(episodes, chunk, {action_dim}) is needed."
                )
            self._left = list(np.moveaxis(chunk[:, : self.replan_every], 1, 0))
        taken, self._left = np.stack(self._left[:most], 1), self._left[most:]
        mended = mend(taken, self._low, self._high)
        self.mended_each = mended.count + (self.mended_each if self.given else 0)
        self.given += mended.actions.size
        return mended.actions
