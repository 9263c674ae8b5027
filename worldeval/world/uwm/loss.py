"""The loss of the two-timestep transformer: both parts noised independently, both predicted.

UWM (arXiv 2504.02792), equation 5: action error + dynamics error, with independently drawn
diffusion times. Rows of action-free video have the last action time, where actions are noise, and
their action error is masked: the paper's co-training (the official code omits the mask, and so also
teaches that unknown actions are zero). A part at time 0 is given, and its error is masked too,
because there is nothing left to predict. The policy mode only learns from actions that may be
imitated: for other rows the action error counts only if the future is given (inverse dynamics).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Bool, Float, Int
from worldeval.world.training.windows import Windows, steps
from worldeval.world.uwm.modes import Noise
from worldeval.world.uwm.network import PAIR, Uwm
from worldeval.world.uwm.seen import UwmContext

# Shares of the rows at exactly a mode's times. Imagination uses forward mode at every frame.
CORNERS = {"forward": 0.5, "policy": 0.25, "inverse": 0.15, "video": 0.1}
AT_NOISE = 0.25  # share of drawn times at pure noise, where every sample starts


@dataclass(frozen=True, kw_only=True)
class Moments:
    """`b` moments of recorded episodes, each with the chunk of `n` frames after it."""

    seen: UwmContext
    actions: Float[Tensor, "b n a"]
    future: Float[Tensor, "b 2 v d h w"]  # latents of frames n - 1 and n after the newest
    imitated: Bool[Tensor, " b"]  # whether a policy should imitate these actions
    video: Bool[Tensor, " b"]  # whether the actions are unknown and must not be used


class MomentCutter:
    """Cut `Moments` from the episodes of some windows.

    `video` lists episodes whose actions are not used. The others are all imitated or, with
    `successes_only`, only successful ones up to their success; without success labels, all are.
    """

    def __init__(self, windows: Windows, *, video: Int[Array, " e"], successes_only: bool) -> None:
        self.windows = windows
        data = windows.data
        rows = len(data.pose)
        self.video = torch.zeros(rows, dtype=torch.bool)
        self.imitated = torch.ones(rows, dtype=torch.bool)
        for begin, length in zip(
            data.begin[video].tolist(), data.length[video].tolist(), strict=True
        ):
            self.video[begin : begin + length] = True
        if successes_only and windows.judged:
            for begin, length in zip(data.begin.tolist(), data.length.tolist(), strict=True):
                own = slice(begin, begin + length)
                over = windows.achieved[own]
                self.imitated[own] = over.any() & ~over
        self.imitated &= ~self.video

    def cut(self, rows: Int[Tensor, " b"], frames: int) -> Moments:
        """Cut the moments at `rows`, which at least `frames` further frames must follow."""
        now, last = 1, 1 + frames  # indices in the window
        future = range(last - PAIR + 1, last + 1)
        window = self.windows.cut(
            rows, steps(now, frames), shown=[now, now - 1, *future], start=True
        )
        assert window.first is not None
        hidden, pose = self.video[rows], window.pose[:, now]
        command = torch.where(
            hidden[:, None], pose[:, self.windows.commanded], window.command[:, now]
        )
        return Moments(
            seen=UwmContext(
                latent=window.latents[:, 0],
                previous=window.latents[:, 1],
                first=window.first,
                pose=pose,
                past_pose=window.pose[:, now - 1],
                command=command,
                task=window.task,
                history=torch.ones(len(rows), dtype=torch.bool),
            ),
            # Unused actions are zeroed, so that no information about them can leak.
            actions=window.actions[:, now:last].masked_fill(hidden[:, None, None], 0.0),
            future=window.latents[:, 2:],
            imitated=self.imitated[rows],
            video=hidden,
        )


@dataclass(frozen=True, kw_only=True)
class Times:
    """A diffusion time for each part of each row."""

    actions: Int[Tensor, " b"]
    future: Int[Tensor, " b"]


def draw_times(
    video: Bool[Tensor, " b"], *, last: int, corners: float, generator: torch.Generator
) -> Times:
    """Draw the times of a batch: a share `corners` at a mode's times, the others independently."""
    count = len(video)

    def anywhere() -> Tensor:
        time = torch.randint(last + 1, (count,), generator=generator)
        noise = torch.rand(count, generator=generator) < AT_NOISE
        return torch.where(noise, last, time)

    actions, future = anywhere(), anywhere()
    cornered = torch.rand(count, generator=generator) < corners
    shares = torch.tensor(list(CORNERS.values()))
    mode = torch.multinomial(shares, count, replacement=True, generator=generator)

    def now(name: str) -> Tensor:
        return cornered & (mode == list(CORNERS).index(name))

    actions = torch.where(now("forward"), 0, actions)
    actions = torch.where(now("video") | video, last, actions)
    future = torch.where(now("inverse") & ~video, 0, future)
    future = torch.where(now("policy") & ~video, last, future)
    return Times(actions=actions, future=future)


class UwmLoss(nn.Module):
    """The loss as a module, so that wrappers for several devices can wrap it."""

    _no_split_modules = ("_AdaNormBlock",)  # of network.py, for FSDP: gathered one at a time

    def __init__(self, model: Uwm) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        batch: Moments,
        times: Times,
        noise: Noise,
    ) -> Float[Tensor, ""]:
        actions, future = part_errors(self.model, batch, times, noise)
        return actions.mean() + future.mean()


def part_errors(
    model: Uwm,
    batch: Moments,
    times: Times,
    noise: Noise,
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Mean squared errors of actions and of the future, per row, zero where masked."""
    schedule, seen = model.schedule, batch.seen
    unit, change = model.unit_actions(batch.actions), model.change(batch.future, seen)
    said = model(
        seen,
        schedule.noised(unit, noise.actions, times.actions),
        schedule.noised(change, noise.future, times.future),
        times.actions,
        times.future,
    )
    action_error = said.actions - schedule.aim(unit, noise.actions, times.actions)
    future_error = said.future - schedule.aim(change, noise.future, times.future)
    learned = ~batch.video & (batch.imitated | (times.future == 0)) & (times.actions > 0)
    return (
        action_error.square().flatten(1).mean(1) * learned,
        future_error.square().flatten(1).mean(1) * (times.future > 0),
    )


def spoilt(
    batch: Moments,
    *,
    latent_noise: float,
    pose_noise: Float[Tensor, " k"],
    place: Sequence[int],
    history_drop: float,
    generator: torch.Generator,
) -> Moments:
    """Corrupt moments in the way imagination will: noise on latents and position and, for a share
    of them, only one frame of history. The first frame is observed and stays unchanged."""
    seen, count = batch.seen, len(batch.seen)
    strength = latent_noise * torch.rand(count, 1, 1, 1, 1, generator=generator)

    def noisy(latent: Tensor) -> Tensor:
        return latent + strength * torch.randn(latent.shape, generator=generator)

    offset = torch.zeros_like(seen.pose)
    noise = torch.randn(count, len(place), generator=generator)
    offset[:, list(place)] = (pose_noise * noise).to(offset)
    alone = torch.rand(count, generator=generator) < history_drop
    changed = replace(
        seen,
        latent=noisy(seen.latent),
        previous=noisy(seen.previous),
        pose=seen.pose + offset,
        past_pose=seen.past_pose + offset,
        history=seen.history & ~alone,
    )
    return replace(batch, seen=changed)
