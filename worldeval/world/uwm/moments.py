"""Training rows of the two-timestep transformer: what was seen, done, and seen after it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldeval.axes import Array, Bool, Float, Int
from worldeval.world.training.windows import Windows
from worldeval.world.uwm.network import PAIR
from worldeval.world.uwm.seen import UwmContext


@dataclass(frozen=True, kw_only=True)
class Moments:
    """`b` moments of recorded episodes, and the chunk of `n` frames after each."""

    seen: UwmContext
    actions: Float[Tensor, "b n a"]
    future: Float[Tensor, "b 2 v d h w"]  # latents of frames n - 1 and n after the newest
    imitated: Bool[Tensor, " b"]  # whether these actions are what a policy should do
    video: Bool[Tensor, " b"]  # whether the actions are unknown: never to be looked at


class MomentCutter:
    """Cuts `Moments` out of the episodes of some windows.

    `video` lists episodes whose actions are not to be looked at. Of the others, all are imitated,
    or, with `successes_only`, those that succeed, up to their success; where nobody knows what
    succeeded, all are.
    """

    def __init__(self, windows: Windows, *, video: Int[Array, " e"], successes_only: bool) -> None:
        self.windows = windows
        data = windows.data
        rows = len(data.pose)
        self.video = torch.zeros(rows, dtype=torch.bool)
        self.imitated = torch.ones(rows, dtype=torch.bool)
        spans = [
            slice(begin, begin + length)
            for begin, length in zip(data.begin.tolist(), data.length.tolist(), strict=True)
        ]
        for index in video.tolist():
            self.video[spans[index]] = True
        if successes_only and data.flags is not None:
            flags = torch.from_numpy(data.flags).bool()
            for span in spans:
                over = flags[span].cummax(0).values
                self.imitated[span] = over.any() & ~over
        self.imitated &= ~self.video

    def cut(self, rows: Int[Tensor, " b"], frames: int) -> Moments:
        """The moments at `rows`, which `frames` further frames must follow."""
        windows = self.windows
        begin = windows.begin[rows]
        before = torch.maximum(rows - 1, begin)
        ahead = [rows + frames - PAIR + 1 + i for i in range(PAIR)]
        wanted = torch.stack([rows, before, begin, *ahead], 1)
        # Sorted and each once: what a memory map reads best.
        unique, place = torch.unique(wanted, return_inverse=True)
        shape = windows.data.latents.shape[1:]
        latents = windows.data.gather(unique.numpy())[place].view(*wanted.shape, *shape)
        hidden = self.video[rows]
        # Actions that are not to be looked at are zero: nothing of them can get anywhere.
        actions = windows.actions[rows[:, None] + torch.arange(frames)]
        return Moments(
            seen=UwmContext(
                latent=latents[:, 0],
                previous=latents[:, 1],
                first=latents[:, 2],
                pose=windows.pose[rows],
                past_pose=windows.pose[before],
                command=torch.where(hidden[:, None], windows.pose[rows, :3], windows.command[rows]),
                task=windows.task[rows],
                history=torch.ones(len(rows), dtype=torch.bool),
            ),
            actions=actions.masked_fill(hidden[:, None, None], 0.0),
            future=latents[:, 3:],
            imitated=self.imitated[rows],
            video=hidden,
        )
