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

OUTSIDE = -1  # part of what joins a mixture without a weight of its own


@dataclass(frozen=True, kw_only=True)
class Blend:
    """The dataset of a mixture that each episode belongs to, and the datasets' weights.

    Episodes that are `OUTSIDE` (roll-outs that join later) are drawn as if nothing had a weight.
    """

    part: Int[Array, " e"]
    weights: tuple[float, ...]


class Draws:
    """Rows at which a window may begin."""

    def __init__(
        self,
        rows: Int[Tensor, " n"],
        *,
        part: Int[Tensor, " n"] | None = None,
        weights: Sequence[float] = (),
    ) -> None:
        """Without `part`, the dataset of every row, all rows are alike."""
        self.rows, self._part, self._weights = rows, part, tuple(weights)
        self._until = None if part is None else _until(part, self._weights)

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, count: int, generator: torch.Generator) -> Int[Tensor, " b"]:
        """`count` rows, any of them perhaps more than once."""
        if self._until is None:
            return self.rows[torch.randint(len(self.rows), (count,), generator=generator)]
        drawn = torch.rand(count, dtype=torch.float64, generator=generator)
        place = torch.searchsorted(self._until, drawn, right=True)
        return self.rows[place.clamp(max=len(self.rows) - 1)]  # against rounding at the end

    def where(self, kept: Bool[Tensor, " n"]) -> "Draws":
        """The same from some of the rows only, every dataset as often as before."""
        part = None if self._part is None else self._part[kept]
        return Draws(self.rows[kept], part=part, weights=self._weights)


def _until(part: Int[Tensor, " n"], weights: Sequence[float]) -> Float[Tensor, " n"]:
    """Share of the draws that go to a row or one before it."""
    each = torch.ones(len(part), dtype=torch.float64)
    mixed = part != OUTSIDE
    if mixed.any():
        counts = np.bincount(part[mixed].numpy(), minlength=len(weights))
        # The mean row of the mixture keeps the weight 1, that of every row outside of it.
        per_row = int(mixed.sum()) * shares(weights, counts.tolist()) / np.maximum(counts, 1)
        each[mixed] = torch.from_numpy(per_row)[part[mixed]]
    return each.cumsum(0) / each.sum()
