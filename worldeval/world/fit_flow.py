"""Training the flow transformer: straight-path loss, on noisy and then on imagined histories."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Int
from worldeval.world.context import Context
from worldeval.world.dit import DitDynamics
from worldeval.world.fit_dynamics import context_of, noisy, on_device
from worldeval.world.flow import along_path, sample
from worldeval.world.optimise import Fitted, Progress, optimise
from worldeval.world.recipe import TrainerRecipe
from worldeval.world.windows import Windows

STATISTICS = 4096  # transitions from which the deviation of changes is taken


def fit_flow(
    model: DitDynamics,
    windows: Windows,
    episodes: Int[Array, " e"],
    trainer: TrainerRecipe,
    *,
    latent_noise: float,
    pose_noise: float,
    seed: int,
    progress: Progress | None = None,
) -> Fitted:
    """Train on one frame of each window, the last of up to `recipe.unroll` frames.

    The frames before it in the window are the model's own samples, drawn without gradient: the
    histories that it will meet in its roll-outs (the idea of "Self Forcing", Huang et al., 2025;
    the loss stays the flow's). As in `fit_unrolled`, latents carry noise of a strength drawn per
    window up to `latent_noise`, poses a constant offset of `pose_noise` metres.
    """
    generator = torch.Generator().manual_seed(seed)
    unroll = model.recipe.unroll
    rows = {
        frames: torch.from_numpy(windows.data.transitions(episodes, frames))
        for frames in range(1, max(frames for _, frames in unroll) + 1)
    }
    if not model.change_fitted:  # training that goes on from earlier weights keeps their scale
        model.fit_change(_changes(windows, rows[1], generator))

    def loss_of(net: nn.Module, step: int) -> Tensor:
        longest = longest_at(unroll, step / trainer.steps)
        frames = 1 + int(torch.randint(longest, (), generator=generator))
        picked = torch.randint(len(rows[frames]), (trainer.batch,), generator=generator)
        batch = on_device(windows.batch(rows[frames][picked], frames), net)
        offset = pose_noise * torch.randn(len(picked), 1, 3, generator=generator).to(batch.pose)
        pose = torch.cat([batch.pose[..., :3] + offset, batch.pose[..., 3:]], 2)
        strength = latent_noise * torch.rand(len(picked), 1, 1, 1, 1, generator=generator)
        previous, latent = (noisy(batch.latents[:, i], strength, generator) for i in (0, 1))
        for ahead in range(frames - 1):
            context = context_of(batch, ahead, pose, latent, previous)
            previous, latent = latent, _imagined(net, model, context, generator)
        context = context_of(batch, frames - 1, pose, latent, previous)
        change = (batch.latents[:, 1 + frames] - latent) / model.change_std
        return flow_loss(net, change, context, at_noise=model.recipe.at_noise, generator=generator)

    return optimise(model, loss_of, trainer, progress=progress)


def flow_loss(
    net: nn.Module,
    change: Float[Tensor, "b v d h w"],
    context: Context,
    *,
    at_noise: float,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Squared error of the predicted data; a share `at_noise` of the rows at flow time 0."""
    noise = torch.randn(change.shape, generator=generator).to(change)
    # Times spread evenly over the batch, in random order: less variance than independent ones.
    count = len(change)
    time = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    time = ((time - at_noise) / (1 - at_noise)).clamp_min(0)
    time = time[torch.randperm(count, generator=generator)].to(change)
    return (net(along_path(noise, change, time), time, context) - change).square().mean()


def longest_at(unroll: Sequence[tuple[float, int]], done: float) -> int:
    """The longest window of a schedule (share of training from which, frames) when `done`."""
    return [frames for share, frames in unroll if share <= done][-1]


@torch.no_grad()
def _imagined(
    net: nn.Module, model: DitDynamics, context: Context, generator: torch.Generator
) -> Tensor:
    """The model's own next frame: `predict` through the wrapped network, on one generator."""
    noise = torch.randn(context.latent.shape, generator=generator).to(context.latent)
    change = sample(lambda x, s: net(x, s, context), noise, steps=model.recipe.steps)
    return context.latent + change * model.change_std


def _changes(windows: Windows, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Changes from one frame to the next, of transitions drawn from `rows`."""
    picked = rows[torch.randperm(len(rows), generator=generator)[:STATISTICS]].sort().values.numpy()
    return windows.data.gather(picked + 1) - windows.data.gather(picked)
