"""Random sampling of the rows at which the windows of a training batch begin.

All training on windows of encoded episodes, or on frames, samples here: uniformly from a single
dataset, and by the datasets' weights from a mixture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Bool, Float, Int
from worldeval.data.weighted import shares
from worldeval.errors import UserError

OUTSIDE = -1  # part of episodes that join a mixture without a weight of their own


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Assignment of episodes to the datasets of a mixture, with the datasets' weights.

    `OUTSIDE` episodes (roll-outs that join later) are drawn as if nothing were weighted.
    """

    part: Int[Array, " e"]
    weights: tuple[float, ...]


class Draws:
    """Sampler of rows at which a window may begin."""

    def __init__(
        self,
        rows: Int[Tensor, " n"],
        *,
        part: Int[Tensor, " n"] | None = None,
        weights: Sequence[float] = (),
    ) -> None:
        """Without `part`, the dataset of every row, all rows are equally likely."""
        self.rows, self._part, self._weights = rows, part, tuple(weights)
        self._until = None if part is None else _until(part, self._weights)

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, count: int, generator: torch.Generator) -> Int[Tensor, " b"]:
        """Draw `count` rows with replacement.

        Raises:
            UserError: there is no row at which a window may begin.
        """
        if not len(self.rows):
            raise UserError(
                "No training episode is long enough for the windows that the model learns from. "
                "Give longer episodes or fewer steps to a frame (--every), or shorten the recipe's "
                "windows, such as --set kinematics.unroll=2."
            )
        if self._until is None:
            return self.rows[torch.randint(len(self.rows), (count,), generator=generator)]
        drawn = torch.rand(count, dtype=torch.float64, generator=generator)
        place = torch.searchsorted(self._until, drawn, right=True)
        return self.rows[place.clamp(max=len(self.rows) - 1)]  # guards against rounding at the end

    def where(self, kept: Bool[Tensor, " n"]) -> "Draws":
        """Restrict sampling to some of the rows, keeping each dataset's share."""
        part = None if self._part is None else self._part[kept]
        return Draws(self.rows[kept], part=part, weights=self._weights)


def _until(part: Int[Tensor, " n"], weights: Sequence[float]) -> Float[Tensor, " n"]:
    """Cumulative share of draws up to and including each row."""
    each = torch.ones(len(part), dtype=torch.float64)
    mixed = part != OUTSIDE
    if mixed.any():
        counts = np.bincount(part[mixed].numpy(), minlength=len(weights))
        # The mixture's rows have mean weight 1, the weight of every row outside it.
        per_row = int(mixed.sum()) * shares(weights, counts.tolist()) / np.maximum(counts, 1)
        each[mixed] = torch.from_numpy(per_row)[part[mixed]]
    return each.cumsum(0) / each.sum()
