"""Roll, pitch and yaw as 6-D rotations, inside a network's own inputs and outputs.

Angles jump by a full turn at +-pi, and a network that predicts them learns the jump. Datasets are
therefore trained in 6-D form (sources.py), except for worlds whose given weights read angles, such
as Ctrl-World's: their poses stay as they are, and what learns from these poses converts them here.
Rotation matrix and Gram-Schmidt: Zhou et al. 2019 (arXiv 1812.07035), equations 14 and 15.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from worldeval.axes import Float

MORE = 3  # numbers of a 6-D rotation beyond those of three angles


@dataclass(frozen=True, kw_only=True)
class Turned:
    """Vectors of `width` numbers, where a roll, pitch, yaw (radians) begins at each of `first`."""

    width: int
    first: tuple[int, ...] = ()  # ascending

    @property
    def size(self) -> int:
        """Numbers of a converted vector."""
        return self.width + MORE * len(self.first)

    def places(self, columns: Sequence[int]) -> tuple[int, ...]:
        """Return where columns that are not angles are in a converted vector."""
        return tuple(column + MORE * sum(at < column for at in self.first) for column in columns)

    def forth(self, values: Float[Tensor, "... p"]) -> Float[Tensor, "... q"]:
        """Replace angles by the first two columns of their rotation matrix."""
        parts, done = [], 0
        for at in self.first:
            parts += [values[..., done:at], _six(values[..., at : at + 3])]
            done = at + 3
        return torch.cat([*parts, values[..., done:]], -1) if parts else values

    def back(self, values: Float[Tensor, "... q"]) -> Float[Tensor, "... p"]:
        """Replace 6-D rotations, which need not be orthogonal, by their angles in [-pi, pi]."""
        parts, done = [], 0
        for index, at in enumerate(self.first):
            here = at + MORE * index
            parts += [values[..., done:here], _angles(values[..., here : here + 6])]
            done = here + 6
        return torch.cat([*parts, values[..., done:]], -1) if parts else values


def _six(angles: Float[Tensor, "... 3"]) -> Float[Tensor, "... 6"]:
    """Turn about fixed x (roll), then y (pitch), then z (yaw): Rz Ry Rx, columns 1 and 2."""
    (a, b, c), (s, t, u) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    first = (c * b, u * b, -t)
    second = (c * t * s - u * a, u * t * s + c * a, b * s)
    return torch.stack([*first, *second], -1)


def _angles(six: Float[Tensor, "... 6"]) -> Float[Tensor, "... 3"]:
    x = normalize(six[..., :3], dim=-1)
    y = six[..., 3:]
    y = normalize(y - (x * y).sum(-1, keepdim=True) * x, dim=-1)
    z = torch.linalg.cross(x, y)
    roll = torch.atan2(y[..., 2], z[..., 2])
    pitch = torch.atan2(-x[..., 2], torch.hypot(x[..., 0], x[..., 1]))
    yaw = torch.atan2(x[..., 1], x[..., 0])
    return torch.stack([roll, pitch, yaw], -1)
