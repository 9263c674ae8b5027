"""The parts of the encoder's feature vector.

Every head gets one vector for each episode. The small heads read it as a whole. Others read its
parts: the moments of a history, a goal, patches of the images, words of the task. So whatever works
on features (samplers, policy gradients, critics) works with every head.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Parts:
    """How many numbers each part has, in the order of the vector."""

    seen: int  # of the newest moment's images
    task: int
    pose: int
    moments: int = 1  # observed world frames, the newest first in the vector
    goal: int = 0  # of the goal's images, and 1 where there is a goal
    tokens: int = 0  # patches of the newest moment's images, all views
    token: int = 0  # numbers of a patch
    words: int = 0  # of the task's text
    word: int = 0

    @property
    def now(self) -> int:
        """Numbers of the newest moment: images, task, pose."""
        return self.seen + self.task + self.pose

    @property
    def width(self) -> int:
        """All numbers."""
        earlier = (self.moments - 1) * (self.seen + self.pose)
        return self.now + earlier + self.goal + self.tokens * self.token + self.words * self.word

    def split(self, feature: Float[Tensor, "b d"]) -> "Split":
        """Take a feature vector apart."""
        sizes = (
            self.now,
            (self.moments - 1) * (self.seen + self.pose),
            self.goal,
            self.tokens * self.token,
            self.words * self.word,
        )
        now, earlier, goal, tokens, words = feature.split(sizes, dim=-1)
        rows = len(feature)
        newest = torch.cat([now[:, : self.seen], now[:, self.seen + self.task :]], dim=-1)
        before = earlier.reshape(rows, self.moments - 1, self.seen + self.pose)
        return Split(
            now=now,
            history=torch.cat([before, newest[:, None]], dim=1),
            goal=goal,
            tokens=tokens.reshape(rows, self.tokens, self.token),
            words=words.reshape(rows, self.words, self.word),
        )

    def without_goal(
        self, feature: Float[Tensor, "b d"], drop: Bool[Tensor, "b 1"] | None = None
    ) -> Float[Tensor, "b d"]:
        """Remove the goal, of the given rows or of all."""
        first = self.width - self.words * self.word - self.tokens * self.token - self.goal
        before, goal, after = feature.split(
            (first, self.goal, self.width - first - self.goal), dim=-1
        )
        none = torch.zeros_like(goal)
        return torch.cat([before, none if drop is None else goal.where(~drop, none), after], -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """A feature vector by part."""

    now: Float[Tensor, "b now"]  # images, task, pose
    history: Float[Tensor, "b t moment"]  # images and pose of every moment, the newest last
    goal: Float[Tensor, "b goal"]
    tokens: Float[Tensor, "b n token"]
    words: Float[Tensor, "b w word"]
