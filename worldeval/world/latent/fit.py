"""Train `latent`: deterministic dynamics on its own predictions."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Int
from worldeval.training.checkpoints import Saving
from worldeval.training.optimise import Fitted, Progress, optimise
from worldeval.training.processes import on_device
from worldeval.training.recipe import TrainerRecipe, scheduled
from worldeval.world.features import PAST_ACTIONS
from worldeval.world.latent.network import Context
from worldeval.world.latent.own_cells import own_cells
from worldeval.world.training.windows import Window, Windows, noisy


def fit_unrolled(
    model: nn.Module,
    windows: Windows,
    episodes: Int[Array, " e"],
    trainer: TrainerRecipe,
    *,
    unroll: Sequence[tuple[float, int]],
    latent_noise: float,
    pose_noise: float,
    seed: int,
    own: float = 0.0,
    saving: tuple[Path, int] | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train deterministic dynamics on its own predictions, with longer unrolls as training goes on.

    `unroll` lists (share of training from which, steps). Latents of the history carry noise of a
    strength drawn per window up to `latent_noise`, poses a constant offset of `pose_noise`
    (`Windows.place_noise`), similar to the errors the model meets in its own roll-outs.

    Args:
        own: weight of cells that the pose does not explain (own_cells.py); 0: cells count alike.
        saving: file of the training state, and the steps between saves (0: never).
    """
    generator = torch.Generator().manual_seed(seed)
    rows = {horizon: windows.data.draws(episodes, horizon) for _, horizon in unroll}
    weights = own_cells(windows, episodes, own=own) if own else None

    def loss_of(net: nn.Module, step: int) -> Tensor:
        horizon = scheduled(unroll, step / trainer.steps)
        size = max(trainer.batch // 2, round(trainer.batch * (1 - 0.125 * (horizon - 1))))
        chosen = rows[horizon](size, generator)
        batch = on_device(windows.unrolled(chosen, horizon), net)
        noise = torch.randn(size, 1, len(windows.place), generator=generator)
        pose = windows.moved(batch.pose, windows.place_noise(pose_noise) * noise)
        strength = latent_noise * torch.rand(size, 1, 1, 1, 1, generator=generator)
        previous, latent = (noisy(batch.latents[:, i], strength, generator) for i in (0, 1))
        losses = []
        for ahead in range(horizon):
            context = context_of(batch, ahead, pose, latent, previous)
            predicted = net(context)
            error = (predicted - batch.latents[:, 2 + ahead]).square()
            if weights is not None:
                error = error * weights[chosen + ahead + 1].unsqueeze(2).to(error)
            losses.append(error.mean())
            previous, latent = latent, predicted
        return torch.stack(losses).mean()

    kept = None
    if saving is not None and saving[1]:
        kept = Saving(path=saving[0], every=saving[1], generators=(generator,))
    return optimise(model, loss_of, trainer, progress=progress, saving=kept)


def context_of(
    batch: Window, ahead: int, pose: Tensor, latent: Tensor, previous: Tensor
) -> Context:
    """Build the context of future frame `ahead` of a window from given poses and newest latents."""
    assert batch.first is not None
    assert batch.older_latents is not None and batch.older_pose is not None
    now = PAST_ACTIONS + ahead
    return Context(
        latent=latent,
        previous=previous,
        first=batch.first,
        memory=batch.older_latents[:, ahead, 0],
        memory_pose=batch.older_pose[:, ahead, 0],
        motion=batch.motion(now, pose),
        next_pose=pose[:, now + 1],
    )
