"""The gripper's position as an image: each token's distance from the projected gripper.

Where the gripper goes is spatial information. A network that receives it as a map draws the gripper
twice as accurately as one that must infer it from numbers (channel-concatenated action maps:
GigaWorld-1, arXiv 2607.02642).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worldeval.axes import Float, Int
from worldeval.world.body import HAND
from worldeval.world.dit.camera import project

CHANNELS = 9  # now and next: two bumps and two distances each; and whether the camera is known
NARROW, WIDE, FAR = 0.75, 2.0, 4.0  # in tokens


class HandMaps(nn.Module):
    """Maps of the gripper on the token grid of every view; zeros if a camera is unknown.

    `hand` lists the pose columns of the gripper's x, y and z (m).
    """

    matrix: Tensor  # k v 3 4: task and view
    across: Tensor  # n: centres of one view's tokens, -1 to 1
    down: Tensor

    def __init__(
        self,
        matrix: Float[Tensor, "k v 3 4"],
        *,
        grid: tuple[int, int],
        hand: Sequence[int] = HAND,
    ) -> None:
        super().__init__()
        rows, columns = grid
        down = (torch.arange(rows) * 2 + 1) / rows - 1
        across = (torch.arange(columns) * 2 + 1) / columns - 1
        # They follow from the recipe, so they are not stored with the weights.
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("down", down.repeat_interleave(columns), persistent=False)
        self.register_buffer("across", across.repeat(rows), persistent=False)
        self.grid, self.hand = grid, list(hand)

    def forward(
        self,
        task: Int[Tensor, " b"],
        pose: Float[Tensor, "b p"],
        next_pose: Float[Tensor, "b p"],
    ) -> Float[Tensor, "b n e"]:
        """Compute the channels of every token, view after view."""
        matrix = self.matrix[task]
        known = (matrix != 0).any(3).any(2).to(pose)[:, :, None]
        channels = [known.expand(-1, -1, len(self.down))]
        rows, columns = self.grid
        for point in (pose[:, self.hand], next_pose[:, self.hand]):
            seen = project(matrix, point)
            right = (seen[..., :1] - self.across) * columns / 2
            below = (seen[..., 1:] - self.down) * rows / 2
            square = right.square() + below.square()
            for spread in (NARROW, WIDE):
                channels.append(known * (-square / (2 * spread**2)).exp())
            channels += [known * (right / FAR).tanh(), known * (below / FAR).tanh()]
        return torch.stack(channels, 3).flatten(1, 2)
