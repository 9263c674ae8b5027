"""Cut training windows from encoded episodes, for every family of world model.

A window holds the frames around a row of the data at arbitrary offsets: past frames, the newest
frame and future frames. It never crosses into another episode: where an offset would, the episode's
first or last frame is repeated and `there` is False. A window may also hold older frames, retrieved
by pose, and the episode's first frame.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Bool, Float, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.world.body import HAND
from worldeval.world.features import PAST_ACTIONS, Motion
from worldeval.world.hand.commands import Actuation
from worldeval.world.memory import nearest
from worldeval.world.turned import Turned


@dataclass(frozen=True, kw_only=True)
class Older:
    """For each of `s` frames of a window, `k` retrieved frames older than what the model sees."""

    rows: Int[Tensor, "b s k"]  # the first frame's row if nothing is old enough
    age: Int[Tensor, "b s k"]  # in frames, relative to the frame they are retrieved for
    there: Bool[Tensor, "b s k"]  # False: nothing is old enough


@dataclass(frozen=True, kw_only=True)
class Window:
    """`b` excerpts of recorded episodes, `t` frames each."""

    there: Bool[Tensor, "b t"]  # False: outside the episode, so its first or last frame is repeated
    pose: Float[Tensor, "b t p"]
    actions: Float[Tensor, "b t a"]  # from each frame on; zero before the start
    command: Float[Tensor, "b t c"]  # commanded position of the robot
    success: Bool[Tensor, "b t"]  # at exactly this frame
    achieved: Bool[Tensor, "b t"]  # at this frame or before, within the episode
    judged: Bool[Tensor, " b"]  # whether the episode has a success label
    task: Int[Tensor, " b"]
    latents: Float[Tensor, "b u v d h w"]  # of the requested frames
    first: Float[Tensor, "b v d h w"] | None = None
    older: Older | None = None
    older_latents: Float[Tensor, "b s k v d h w"] | None = None
    older_pose: Float[Tensor, "b s k p"] | None = None

    def motion(self, now: int, pose: Float[Tensor, "b t p"]) -> Motion:
        """Return the motion that leads from frame `now` of the window to the next frame.

        Poses are read from `pose`: the true ones, noisy ones, or a model's own.
        """
        return Motion(
            action=self.actions[:, now],
            past_actions=self.actions[:, [now - 1, now - 2]],
            pose=pose[:, now],
            past_poses=pose[:, [now - 1, now - 2]],
            command=self.command[:, now],
            next_command=self.command[:, now + 1],
            task=self.task,
        )


class Windows:
    """Cut windows from `LatentEpisodes`; everything except the latents is held in tensors."""

    def __init__(
        self,
        data: LatentEpisodes,
        actuation: Actuation | None = None,
        pose_std: Float[Tensor, " p"] | None = None,
    ) -> None:
        """`pose_std` gives the units of pose distance; without `actuation` the gripper is assumed
        to be where it was commanded to be."""
        self.data = data
        self.pose = torch.from_numpy(np.ascontiguousarray(data.pose)).float()
        self.actions = torch.from_numpy(np.ascontiguousarray(data.actions)).float()
        self.before = torch.zeros(self.actions.shape[1])  # the action before an episode's start
        self.pose_std = torch.ones(self.pose.shape[1]) if pose_std is None else pose_std
        episode = data.episode_of_row
        self.begin = torch.from_numpy(data.begin[episode])
        self.end = torch.from_numpy((data.begin + data.length)[episode])
        self.task = torch.from_numpy(data.task[episode])
        body = None if actuation is None else actuation.body
        # Without a body, assume as many end-effector coordinates as the pose has.
        hand = [column for column in HAND if column < self.pose.shape[1]]
        self.place = hand if body is None else list(body.place)
        self.commanded = hand if body is None else list(body.commanded)
        self.metres = body is None or body.metres
        self.command = (
            self.pose[:, self.commanded] if actuation is None else self._commands(actuation)
        )
        self.judged = data.flags is not None
        self.success = torch.zeros(len(self.pose), dtype=torch.bool)
        if data.flags is not None:
            self.success = torch.from_numpy(data.flags).bool()
        self.achieved = self.success.clone()
        for begin, length in zip(data.begin.tolist(), data.length.tolist(), strict=True):
            own = slice(begin, begin + length)
            self.achieved[own] = self.success[own].cummax(0).values
        self._longest = int(data.length.max())

    def with_tasks(self, task: Int[Array, " e"]) -> "Windows":
        """Return the same windows with other task labels, one per episode."""
        changed = copy(self)
        changed.task = torch.from_numpy(task[self.data.episode_of_row])
        return changed

    def place_noise(self, metres: float) -> Float[Tensor, " k"]:
        """Standard deviation of the noise on every position column.

        If the position is not in metres, the noise is the same share of its spread as `metres` is
        of an end effector's spread of a tenth of a metre.
        """
        std = self.pose_std[self.place].cpu()
        return torch.full_like(std, metres) if self.metres else 10 * metres * std

    def moved(
        self, pose: Float[Tensor, "b t p"], offset: Float[Tensor, "b 1 k"]
    ) -> Float[Tensor, "b t p"]:
        """Shift the position columns of poses by `offset`."""
        out = pose.clone()
        out[..., self.place] = out[..., self.place] + offset.to(pose)
        return out

    def turned(self, pose: Turned, action: Turned) -> "Windows":
        """The same windows, without angles that jump in poses and actions."""
        changed = copy(self)
        changed.pose, changed.actions = pose.forth(self.pose), action.forth(self.actions)
        changed.before = action.forth(self.before)
        changed.place = list(pose.places(self.place))
        return changed

    def in_units(self, pose_std: Float[Tensor, " p"]) -> "Windows":
        """The same windows, where poses are near in units of `pose_std`."""
        changed = copy(self)
        changed.pose_std = pose_std
        return changed

    def cut(
        self,
        rows: Int[Tensor, " b"],
        offsets: Int[Tensor, " t"] | Int[Tensor, "b t"],
        *,
        shown: Sequence[int] | slice = slice(None),
        start: bool = False,
        older: Older | None = None,
    ) -> Window:
        """Cut the frames at `offsets` from each of the rows.

        Latents are read for the frames in `shown` (indices into the window), for the episode's
        first frame if `start`, and for `older` frames.
        """
        begin, end = self.begin[rows][:, None], self.end[rows][:, None]
        span = rows[:, None] + offsets
        there = (span >= begin) & (span < end)
        early = span < begin
        span = torch.minimum(torch.maximum(span, begin), end - 1)
        wanted = [span[:, shown]]
        if start:
            wanted.append(begin)
        if older is not None:
            wanted.append(older.rows.flatten(1))
        every = torch.cat(wanted, 1)
        # Sort and deduplicate: memory maps are read fastest that way.
        unique, place = torch.unique(every, return_inverse=True)
        latents = self.data.gather(unique.numpy())[place]
        own = wanted[0].shape[1]
        kept = latents[:, own + start :]
        return Window(
            there=there,
            pose=self.pose[span],
            actions=torch.where(early[..., None], self.before, self.actions[span]),
            command=self.command[span],
            success=self.success[span],
            achieved=self.achieved[span],
            judged=torch.full((len(rows),), self.judged),
            task=self.task[rows],
            latents=latents[:, :own],
            first=latents[:, own] if start else None,
            older=older,
            older_latents=None if older is None else kept.unflatten(1, older.rows.shape[1:]),
            older_pose=None if older is None else self.pose[older.rows],
        )

    def moving(self, rows: Int[Tensor, " b"], horizon: int) -> Window:
        """Cut the same window without memory, and with the latents of only those `horizon` frames
        from which a step leads on."""
        shown = slice(PAST_ACTIONS, PAST_ACTIONS + horizon)
        return self.cut(rows, steps(PAST_ACTIONS, horizon), shown=shown, start=True)

    def unrolled(self, rows: Int[Tensor, " b"], horizon: int) -> Window:
        """Cut the window of a roll-out: the motion before it, and the frame that memory would
        retrieve for each of the `horizon` frames. Latents begin one frame before the newest."""
        ahead = rows[:, None] + torch.arange(1, horizon + 1)
        # Older than the first frame's inputs, since a roll-out must not retrieve its own frames.
        than = (rows - 1)[:, None].expand_as(ahead)
        return self.cut(
            rows,
            steps(PAST_ACTIONS, horizon),
            shown=slice(PAST_ACTIONS - 1, None),
            start=True,
            older=self.older(ahead, than=than, count=1),
        )

    def older(self, frames: Int[Tensor, "b s"], *, than: Int[Tensor, "b s"], count: int) -> Older:
        """For every row of `frames`, find the `count` frames nearest in pose in the same episode
        that are older than the row in `than`: later ones would leak what is to be imagined."""
        begin = self.begin[frames[:, 0]][:, None]
        candidates = begin + torch.arange(max(self._longest, count))
        poses = self.pose[candidates.clamp(max=len(self.pose) - 1)]
        found = [
            nearest(
                poses,
                candidates < than[:, [index]],
                self.pose[frames[:, index]],
                scale=self.pose_std,
                count=count,
            )
            for index in range(frames.shape[1])
        ]
        rows = begin[..., None] + torch.stack([each.place for each in found], 1)
        there = torch.stack([each.there for each in found], 1)
        return Older(rows=rows, age=frames[..., None] - rows, there=there)

    def _commands(self, actuation: Actuation) -> Float[Tensor, "n c"]:
        begin, length = (torch.from_numpy(x) for x in (self.data.begin, self.data.length))
        out = self.pose[:, self.commanded].clone()
        now = actuation.begin(self.pose[begin])
        for step in range(int(length.max()) - 1):
            live = length > step + 1
            begin, length, now = begin[live], length[live], now[live]
            now = actuation.step(now, self.actions[begin + step])
            out[begin + step + 1] = now
        return out


def steps(past: int, future: int) -> Int[Tensor, " t"]:
    """Consecutive offsets of `past` frames, the newest frame and `future` frames."""
    return torch.arange(-past, future + 1)


def noisy(
    latent: Float[Tensor, "b ..."],
    strength: float | Float[Tensor, "b ..."],
    generator: torch.Generator,
) -> Float[Tensor, "b ..."]:
    """Add Gaussian noise of the given standard deviation to latents."""
    noise = torch.randn(latent.shape, generator=generator)
    return latent + (strength * noise).to(latent)
