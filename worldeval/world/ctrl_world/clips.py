"""Clips of encoded episodes: past frames at a stride, the newest, and those to be imagined."""

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from worldeval.axes import Float, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.world.ctrl_world.recipe import MemoryRecipe


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Frames in the network's order: past ones, oldest first, then the newest and the future."""

    latents: Float[Tensor, "b f v d h w"]
    poses: Float[Tensor, "b f p"]
    task: Int[Tensor, " b"]


class Clips:
    """Cuts clips out of episodes. No clip reaches into another episode."""

    def __init__(self, data: LatentEpisodes) -> None:
        self.data = data
        self.pose = torch.from_numpy(np.ascontiguousarray(data.pose)).float()
        episode = data.episode_of_row
        self.begin = torch.from_numpy(data.begin[episode])
        self.task = torch.from_numpy(data.task[episode])

    def cut(self, rows: Int[Tensor, " b"], back: Int[Tensor, "b m"], future: int) -> Clip:
        """Clips whose newest frame is at `rows`; `back` counts frames to the past ones.

        Before the start of an episode stands its first frame. `future` frames must follow each row.
        """
        past = torch.maximum(rows[:, None] - back, self.begin[rows][:, None])
        span = torch.cat([past, rows[:, None] + torch.arange(future + 1)], 1)
        unique, place = torch.unique(span, return_inverse=True)  # one sorted read a batch
        return Clip(
            latents=self.data.gather(unique.numpy())[place],
            poses=self.pose[span],
            task=self.task[rows],
        )


def training_backs(
    count: int, memory: MemoryRecipe, generator: torch.Generator
) -> Int[Tensor, "b m"]:
    """How far back the past frames of training clips are: one stride a clip, or none at all."""
    strides = torch.tensor(memory.strides)
    drawn = strides[torch.randint(len(strides), (count,), generator=generator)]
    drawn = torch.where(torch.rand(count, generator=generator) < memory.still, 0, drawn)
    return drawn[:, None] * torch.arange(len(memory.recall), 0, -1)


def stacked(latents: Float[Tensor, "b f v d h w"], patch: int) -> Float[Tensor, "b f e g x"]:
    """The views of a frame above one another, as one picture.

    `patch` x `patch` cells become the channels of one; 1 leaves the cells as they are.
    """
    return rearrange(
        latents, "b f v d (h i) (w j) -> b f (d i j) (v h) w", i=patch, j=patch
    ).contiguous()


def unstacked(
    frames: Float[Tensor, "b f e g x"], *, views: int, patch: int
) -> Float[Tensor, "b f v d h w"]:
    """The views apart again."""
    return rearrange(
        frames, "b f (d i j) (v h) w -> b f v d (h i) (w j)", v=views, i=patch, j=patch
    )
