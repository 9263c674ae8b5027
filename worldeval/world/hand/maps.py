"""The grippers' positions as images: each token's distance from the projected gripper.

Where a gripper goes is spatial information. A network that receives it as a map draws the gripper
twice as accurately as one that must infer it from numbers (channel-concatenated action maps:
GigaWorld-1, arXiv 2607.02642).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float, Int
from worldeval.data.part import SI
from worldeval.data.space_text import read_space
from worldeval.world.body import HAND
from worldeval.world.hand.camera import project
from worldeval.world.protocol import WorldSpec

CHANNELS = 8  # of each hand, now and next: two bumps and two distances each
NARROW, WIDE, FAR = 0.75, 2.0, 4.0  # in tokens


@dataclass(frozen=True, kw_only=True)
class DrawnHand:
    """Where the pose has the position of a gripper."""

    columns: tuple[int, ...]  # x, y and z
    metres: float = 1.0  # in one unit of these columns


ONE_HAND = (DrawnHand(columns=HAND),)


class HandMaps(nn.Module):
    """Maps of the grippers on the token grid of every view; zeros if a camera is unknown."""

    matrix: Tensor  # k v 3 4: task and view
    across: Tensor  # n: centres of one view's tokens, -1 to 1
    down: Tensor

    def __init__(
        self,
        matrix: Float[Tensor, "k v 3 4"],
        *,
        grid: tuple[int, int],
        hands: Sequence[DrawnHand] = ONE_HAND,
    ) -> None:
        super().__init__()
        rows, columns = grid
        down = (torch.arange(rows) * 2 + 1) / rows - 1
        across = (torch.arange(columns) * 2 + 1) / columns - 1
        # They follow from the recipe, so they are not stored with the weights.
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("down", down.repeat_interleave(columns), persistent=False)
        self.register_buffer("across", across.repeat(rows), persistent=False)
        self.grid, self.hands = grid, tuple(hands)

    @property
    def channels(self) -> int:
        """Numbers at every token: whether the camera is known, and those of every hand."""
        return 1 + CHANNELS * len(self.hands)

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
        for hand in self.hands:
            for place in (pose, next_pose):
                point = place[:, list(hand.columns)] * hand.metres
                seen = project(matrix, F.pad(point, (0, len(HAND) - point.shape[1])))
                right = (seen[..., :1] - self.across) * columns / 2
                below = (seen[..., 1:] - self.down) * rows / 2
                square = right.square() + below.square()
                for spread in (NARROW, WIDE):
                    channels.append(known * (-square / (2 * spread**2)).exp())
                channels += [known * (right / FAR).tanh(), known * (below / FAR).tanh()]
        return torch.stack(channels, 3).flatten(1, 2)


def hands_of(spec: WorldSpec) -> tuple[DrawnHand, ...]:
    """Return the grippers whose positions are known; empty if a camera could show none.

    Worlds that were saved before their poses were described draw the first three numbers of the
    robot's position.
    """
    if not spec.pose_space:
        return (DrawnHand(columns=spec.place[: len(HAND)]),)
    return tuple(
        DrawnHand(columns=tuple(range(span.start, span.start + len(HAND))), metres=SI[part.unit])
        for part, span in read_space(spec.pose_space).spans()
        if part.family == "end-effector" and part.unit in SI
    )
