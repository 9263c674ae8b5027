"""Retrieve older frames by pose: one rule for training and for imagination."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldeval.axes import Bool, Float, Int


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """Indices of `k` frames, nearest first."""

    place: Int[Tensor, "b k"]  # 0, the first frame, if nothing is found
    there: Bool[Tensor, "b k"]  # whether that many frames were allowed


def nearest(
    poses: Float[Tensor, "b t p"],
    allowed: Bool[Tensor, "b t"],
    target: Float[Tensor, "b p"],
    *,
    scale: Float[Tensor, " p"],
    count: int = 1,
) -> Nearest:
    """Find the `count` allowed frames with poses nearest to `target`, or as many as there are.

    Distances are in units of `scale`. The model sees the newest frames anyway, so the caller does
    not allow them. It also sees the first frame, but only as the start of the episode; that frame
    may still be retrieved, because only retrieved frames come with the pose they were seen at.
    """
    distance = ((poses - target[:, None]) / scale).square().sum(2)
    found = distance.masked_fill(~allowed, torch.inf).topk(count, dim=1, largest=False)
    there = found.values.isfinite()
    return Nearest(place=torch.where(there, found.indices, 0), there=there)
