"""Sequences of recorded frames for a recurrent model: everything from one row on, in order."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldeval.axes import Bool, Float, Int
from worldeval.world.training.windows import Windows


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """`b` cuts of `t` frames. Row i of what moves leads from frame i to frame i + 1."""

    latents: Float[Tensor, "b t v d h w"]
    pose: Float[Tensor, "b t p"]
    task: Int[Tensor, " b"]
    actions: Float[Tensor, "b s a"]  # s = t - 1
    command: Float[Tensor, "b t 3"]  # where the hand has been told to be
    success: Bool[Tensor, "b t"]  # at this very frame
    achieved: Bool[Tensor, "b t"]  # at this frame or before, within the episode
    judged: Bool[Tensor, " b"]  # whether anybody knows of success


class SequenceCutter:
    """Cuts `Sequences` out of the episodes of some windows."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        data = windows.data
        self.judged = data.flags is not None
        flags = torch.zeros(len(data.pose), dtype=torch.bool)
        if data.flags is not None:
            flags = torch.from_numpy(data.flags).bool()
        self.flags = flags
        achieved = flags.clone()
        for begin, length in zip(data.begin.tolist(), data.length.tolist(), strict=True):
            rows = slice(begin, begin + length)
            achieved[rows] = flags[rows].cummax(0).values
        self.achieved = achieved

    def cut(self, rows: Int[Tensor, " b"], length: int) -> Sequences:
        """The frames `rows` and the `length` frames after each, of the same episode."""
        span = rows[:, None] + torch.arange(length + 1)
        shape = self.windows.data.latents.shape[1:]
        # Sorted and each once: what a memory map reads best.
        unique, place = torch.unique(span, return_inverse=True)
        latents = self.windows.data.gather(unique.numpy())[place].view(*span.shape, *shape)
        return Sequences(
            latents=latents,
            pose=self.windows.pose[span],
            task=self.windows.task[rows],
            actions=self.windows.actions[span[:, :-1]],
            command=self.windows.command[span],
            success=self.flags[span],
            achieved=self.achieved[span],
            judged=torch.full((len(rows),), self.judged),
        )
