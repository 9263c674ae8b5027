"""Training sequences: consecutive frames of an episode, and what each may know and remember."""

import torch
from torch import Tensor

from worldeval.axes import Bool, Float, Int
from worldeval.world.dit.network import Given, MemoryFrames, Sequence
from worldeval.world.features import PAST_ACTIONS, Motion
from worldeval.world.training.windows import Windows

BACK = 1 + PAST_ACTIONS  # frames before the first that its motion is read from


class Sequences:
    """Cuts `Sequence`s of `length` frames out of encoded episodes."""

    def __init__(self, windows: Windows, *, length: int, window: int, memory: int) -> None:
        self.windows, self.length, self.window, self.memory = windows, length, window, memory
        self._longest = int(windows.data.length.max())

    def batch(
        self, rows: Int[Tensor, " b"], *, pose_offset: Float[Tensor, "b 3"] | None = None
    ) -> Sequence:
        """Sequences whose first frames are `rows`; `length - 1` frames must follow each.

        `pose_offset` (m) moves every pose of a sequence: what a drifted hand looks like.
        """
        windows, length = self.windows, self.length
        begin = windows.begin[rows]
        span = rows[:, None] + torch.arange(-BACK, length)
        early = span < begin[:, None]
        span = span.clamp(min=begin[:, None])  # before the start, the start's own frame
        actions = windows.actions[span].masked_fill(early[..., None], 0.0)
        pose = windows.pose[span]
        if pose_offset is not None:
            pose = torch.cat([pose[..., :3] + pose_offset[:, None], pose[..., 3:]], 2)
        command = windows.command[span]

        def ago(values: Tensor, frames: int) -> Tensor:
            """Of every frame, what stood `frames` before it; episodes and frames as one axis."""
            return values[:, BACK - frames : BACK - frames + length].flatten(0, 1)

        motion = Motion(
            action=ago(actions, 1),
            past_actions=torch.stack([ago(actions, 2), ago(actions, 3)], 1),
            pose=ago(pose, 1),
            past_poses=torch.stack([ago(pose, 2), ago(pose, 3)], 1),
            command=ago(command, 1),
            next_command=ago(command, 0),
            task=windows.task[rows].repeat_interleave(length),
        )
        chosen, there = self._memory(rows)
        seen = span[:, BACK - 1 :]
        wanted = torch.cat([seen, begin[:, None], chosen.flatten(1)], 1)
        # One sorted read serves every frame of the batch.
        unique, place = torch.unique(wanted, return_inverse=True)
        latents = windows.data.gather(unique.numpy())[place]
        before, own, first = latents[:, 0], latents[:, 1 : length + 1], latents[:, length + 1]
        kept = latents[:, length + 2 :].unflatten(1, (length, self.memory)).flatten(0, 1)
        flat = chosen.flatten(0, 1)
        now = torch.arange(length) + rows[:, None]
        memory = MemoryFrames(
            latents=kept,
            pose=windows.pose[flat],
            age=(now.flatten()[:, None] - flat),
            there=there.flatten(0, 1),
        )
        previous = torch.cat([before[:, None], own[:, :-1]], 1)
        return Sequence(
            latents=own,
            before=before,
            given=Given(
                previous=previous.flatten(0, 1),
                first=first.repeat_interleave(length, 0),
                motion=motion,
                next_pose=ago(pose, 0),
            ),
            memory=memory if self.memory else None,
        )

    def _memory(
        self, rows: Int[Tensor, " b"]
    ) -> tuple[Int[Tensor, "b t k"], Bool[Tensor, "b t k"]]:
        """For every frame, the nearest in pose among frames older than its window."""
        windows, count = self.windows, self.memory
        begin = windows.begin[rows]
        candidates = begin[:, None] + torch.arange(max(self._longest, count))
        poses = windows.pose[candidates.clamp(max=len(windows.pose) - 1)]
        now = rows[:, None] + torch.arange(self.length)
        target = windows.pose[now]
        away = (poses[:, None] - target[:, :, None]) / windows.pose_std
        too_new = candidates[:, None] >= (now - self.window)[..., None]
        distance = away.square().sum(3).masked_fill(too_new, torch.inf)
        nearest = distance.topk(count, dim=2, largest=False)
        there = nearest.values.isfinite()
        return begin[:, None, None] + torch.where(there, nearest.indices, 0), there
