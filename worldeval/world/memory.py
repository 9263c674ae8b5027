"""Looking older frames up by pose: one rule for training and for imagination."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldeval.axes import Bool, Float, Int


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The places of `k` frames, nearest first."""

    place: Int[Tensor, "b k"]  # 0, the start, where nothing is found
    there: Bool[Tensor, "b k"]  # whether so many frames were allowed


def nearest(
    poses: Float[Tensor, "b t p"],
    allowed: Bool[Tensor, "b t"],
    target: Float[Tensor, "b p"],
    *,
    scale: Float[Tensor, " p"],
    count: int = 1,
) -> Nearest:
    """The `count` allowed frames whose poses are nearest to `target`, at most as many as there are.

    Distances are in units of `scale`. The newest frames are seen anyway, so the caller does not
    allow them. The start is seen too, but as the start: it may be found, since only a frame that is
    found says at which pose it was seen.
    """
    distance = ((poses - target[:, None]) / scale).square().sum(2)
    found = distance.masked_fill(~allowed, torch.inf).topk(count, dim=1, largest=False)
    there = found.values.isfinite()
    return Nearest(place=torch.where(there, found.indices, 0), there=there)
