"""Normalise poses for the network: the range from their 1st to 99th percentile becomes [-1, 1]."""

import math

import torch
from torch import Tensor, nn

from worldeval.axes import Float
from worldeval.data.normaliser import Normaliser
from worldeval.errors import UserError


class PoseScale(nn.Module):
    """Statistics of a robot's poses. Outliers are clipped, as in the official code.

    An angle that crosses pi jumps from one end of the range to the other, and so does the token.
    Therefore the dimensions in `angles` (radians) are measured from their mean direction.
    """

    low: Tensor
    high: Tensor
    centre: Tensor

    def __init__(self, pose_dim: int, angles: tuple[int, ...] = ()) -> None:
        super().__init__()
        if any(not 0 <= each < pose_dim for each in angles):
            raise UserError(f"angles: {angles} are not all dimensions of a pose of {pose_dim}.")
        self.angles = list(angles)
        self.register_buffer("low", -torch.ones(pose_dim))
        self.register_buffer("high", torch.ones(pose_dim))
        self.register_buffer("centre", torch.zeros(pose_dim))

    def fit(self, pose: Float[Tensor, "n p"]) -> None:
        """Compute the statistics of training poses."""
        here = pose[:, self.angles]
        self.centre[self.angles] = torch.atan2(here.sin().mean(0), here.cos().mean(0))
        found = Normaliser.fit([self._turned(pose).numpy()], "percentile")
        centre, scale = torch.from_numpy(found.centre), torch.from_numpy(found.scale)
        self.put(centre - scale, centre + scale)

    def put(self, low: Float[Tensor, " p"], high: Float[Tensor, " p"]) -> None:
        """Set known percentiles, such as those of a robot's `stat.json`."""
        if low.shape != self.low.shape or high.shape != self.high.shape:
            raise UserError(
                f"Pose statistics of {len(low)} and {len(high)} dimensions do not match poses of "
                f"{len(self.low)}."
            )
        # A dimension that does not move keeps its value and the scale 1.
        flat = high - low < 1e-6
        self.low.copy_(torch.where(flat, low - 1, low))
        self.high.copy_(torch.where(flat, high + 1, high))

    def forward(self, pose: Float[Tensor, "b f p"]) -> Float[Tensor, "b f p"]:
        """Scale poses to [-1, 1]."""
        share = (self._turned(pose) - self.low) / (self.high - self.low)
        return (2 * share - 1).clamp(-1, 1)

    def _turned(self, pose: Float[Tensor, "... p"]) -> Float[Tensor, "... p"]:
        if not self.angles:
            return pose
        turned = pose.clone()
        away = pose[..., self.angles] - self.centre[self.angles]
        turned[..., self.angles] = (away + math.pi) % (2 * math.pi) - math.pi
        return turned
