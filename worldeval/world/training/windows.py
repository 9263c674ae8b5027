"""Training windows over encoded episodes: history, future, and the memory that was there to use."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Float, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.world.context import nearest_by_pose
from worldeval.world.features import PAST_ACTIONS, Motion
from worldeval.world.hand.commands import Actuation


@dataclass(frozen=True, kw_only=True)
class WindowBatch:
    """`b` cuts of recorded episodes. Time runs from two frames before the newest to `h` after."""

    pose: Float[Tensor, "b t p"]  # t = 2 + 1 + h
    actions: Float[Tensor, "b s a"]  # s = 2 + h: two past ones, then the future's
    command: Float[Tensor, "b c 3"]  # c = 1 + h, from the newest frame on
    task: Int[Tensor, " b"]
    latents: Float[Tensor, "b u v d h w"]  # u = 1 + 1 + h: previous, newest, future
    first: Float[Tensor, "b v d h w"]
    memory: Float[Tensor, "b f v d h w"]  # f = h: one for each future frame
    memory_pose: Float[Tensor, "b f p"]

    def motion(self, step: int, pose: Float[Tensor, "b t p"]) -> Motion:
        """The motion before future frame `step`, reading poses from `pose` (true, noisy or own)."""
        now = PAST_ACTIONS + step
        return Motion(
            action=self.actions[:, now],
            past_actions=self.actions[:, [now - 1, now - 2]],
            pose=pose[:, now],
            past_poses=pose[:, [now - 1, now - 2]],
            command=self.command[:, step],
            next_command=self.command[:, step + 1],
            task=self.task,
        )


class Windows:
    """Cuts windows out of `LatentEpisodes`, with everything but the latents held as tensors."""

    def __init__(self, data: LatentEpisodes, actuation: Actuation, pose_std: Tensor) -> None:
        self.data, self.pose_std = data, pose_std
        self.pose = torch.from_numpy(np.ascontiguousarray(data.pose)).float()
        self.actions = torch.from_numpy(np.ascontiguousarray(data.actions)).float()
        episode = data.episode_of_row
        self.begin = torch.from_numpy(data.begin[episode])
        self.end = torch.from_numpy((data.begin + data.length)[episode])
        self.task = torch.from_numpy(data.task[episode])
        self.command = self._commands(actuation)
        self._longest = int(data.length.max())

    def batch(self, rows: Int[Tensor, " b"], horizon: int) -> WindowBatch:
        """Windows whose newest frame is `rows`; `horizon` frames must follow each."""
        begin = self.begin[rows]
        span = rows[:, None] + torch.arange(-PAST_ACTIONS, horizon + 1)
        before = span < begin[:, None]
        span = span.clamp(min=begin[:, None])  # before the start, the start's own frame
        actions = self.actions[span[:, :-1]].masked_fill(before[:, :-1, None], 0.0)
        pose = self.pose[span]
        memory = self._memory(rows, pose[:, PAST_ACTIONS + 1 :])
        wanted = torch.cat([span[:, 1:], begin[:, None], memory], 1)
        shape = self.data.latents.shape[1:]
        # One sorted read serves every frame of the batch.
        unique, place = torch.unique(wanted, return_inverse=True)
        latents = self.data.gather(unique.numpy())[place].view(*wanted.shape, *shape)
        near = horizon + 2
        return WindowBatch(
            pose=pose,
            actions=actions,
            command=self.command[span[:, PAST_ACTIONS:]],
            task=self.task[rows],
            latents=latents[:, :near],
            first=latents[:, near],
            memory=latents[:, near + 1 :],
            memory_pose=self.pose[memory],
        )

    def _memory(
        self, rows: Int[Tensor, " b"], targets: Float[Tensor, "b s p"]
    ) -> Int[Tensor, "b s"]:
        # Only frames older than the window: later ones would leak what is to be imagined.
        begin = self.begin[rows]
        candidates = begin[:, None] + torch.arange(self._longest)
        allowed = candidates < rows[:, None] - 1
        poses = self.pose[candidates.clamp(max=len(self.pose) - 1)]
        chosen = [
            nearest_by_pose(poses, allowed, target, self.pose_std) for target in targets.unbind(1)
        ]
        return begin[:, None] + torch.stack(chosen, 1)

    def _commands(self, actuation: Actuation) -> Float[Tensor, "n 3"]:
        begin, length = (torch.from_numpy(x) for x in (self.data.begin, self.data.length))
        out = self.pose[:, :3].clone()
        now = actuation.begin(self.pose[begin])
        for step in range(int(length.max()) - 1):
            live = length > step + 1
            begin, length, now = begin[live], length[live], now[live]
            now = actuation.step(now, self.actions[begin + step])
            out[begin + step + 1] = now
        return out
