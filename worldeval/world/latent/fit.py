"""Training kinematics and dynamics on windows of encoded episodes."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Int
from worldeval.training.optimise import Fitted, Progress, optimise, unwrapped
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.context import Context
from worldeval.world.features import PAST_ACTIONS, Features
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.recipe import KinematicsRecipe
from worldeval.world.training.windows import WindowBatch, Windows


def fit_features(features: Features, windows: Windows, episodes: Int[Array, " e"]) -> None:
    """Take normalisation statistics from the training episodes."""
    rows = torch.from_numpy(windows.data.transitions(episodes, 1))
    pose = windows.pose[rows]
    features.fit(pose, windows.pose[rows + 1] - pose, windows.actions[rows])


def fit_kinematics(
    model: Kinematics,
    recipe: KinematicsRecipe,
    windows: Windows,
    episodes: Int[Array, " e"],
    *,
    latent_noise: float,
    seed: int,
    progress: Progress | None = None,
) -> Fitted:
    """Train on the model's own predicted poses, `recipe.unroll` frames in a row."""
    generator = torch.Generator().manual_seed(seed)
    rows = windows.data.draws(episodes, recipe.unroll)

    def loss_of(net: nn.Module, step: int) -> Tensor:
        chosen = rows(recipe.trainer.batch, generator)
        batch = on_device(windows.batch(chosen, recipe.unroll), net)
        pose, losses = batch.pose.clone(), []
        first = batch.first.flatten(1)
        for ahead in range(recipe.unroll):
            latent = noisy(batch.latents[:, 1 + ahead].flatten(1), latent_noise, generator)
            now = PAST_ACTIONS + ahead
            predicted = net(latent, first, batch.motion(ahead, pose))
            error = (predicted - batch.pose[:, now + 1]) / unwrapped(net).features.step_std
            losses.append(nn.functional.smooth_l1_loss(error, torch.zeros_like(error)))
            pose = torch.cat([pose[:, : now + 1], predicted[:, None], pose[:, now + 2 :]], 1)
        return torch.stack(losses).mean()

    return optimise(model, loss_of, recipe.trainer, progress=progress)


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
    progress: Progress | None = None,
) -> Fitted:
    """Train a deterministic dynamics on its own predictions, longer ones as training goes on.

    `unroll` lists (share of training from which, steps). History latents carry noise of a strength
    drawn per window up to `latent_noise`, poses a constant offset of `pose_noise` metres: what the
    model will meet in its own roll-outs.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = {horizon: windows.data.draws(episodes, horizon) for _, horizon in unroll}

    def loss_of(net: nn.Module, step: int) -> Tensor:
        done = step / trainer.steps
        horizon = [steps for share, steps in unroll if share <= done][-1]
        size = max(trainer.batch // 2, round(trainer.batch * (1 - 0.125 * (horizon - 1))))
        batch = on_device(windows.batch(rows[horizon](size, generator), horizon), net)
        offset = pose_noise * torch.randn(size, 1, 3, generator=generator).to(batch.pose)
        pose = torch.cat([batch.pose[..., :3] + offset, batch.pose[..., 3:]], 2)
        strength = latent_noise * torch.rand(size, 1, 1, 1, 1, generator=generator)
        previous, latent = (noisy(batch.latents[:, i], strength, generator) for i in (0, 1))
        losses = []
        for ahead in range(horizon):
            context = context_of(batch, ahead, pose, latent, previous)
            predicted = net(context)
            losses.append((predicted - batch.latents[:, 2 + ahead]).square().mean())
            previous, latent = latent, predicted
        return torch.stack(losses).mean()

    return optimise(model, loss_of, trainer, progress=progress)


def context_of(
    batch: WindowBatch, ahead: int, pose: Tensor, latent: Tensor, previous: Tensor
) -> Context:
    """The context of future frame `ahead` of a window, with the given poses and newest latents."""
    return Context(
        latent=latent,
        previous=previous,
        first=batch.first,
        memory=batch.memory[:, ahead],
        memory_pose=batch.memory_pose[:, ahead],
        motion=batch.motion(ahead, pose),
        next_pose=pose[:, PAST_ACTIONS + ahead + 1],
    )


def noisy(latent: Tensor, strength: float | Tensor, generator: torch.Generator) -> Tensor:
    """Latents with Gaussian noise of the given standard deviation."""
    noise = torch.randn(latent.shape, generator=generator)
    return latent + (strength * noise).to(latent)


def on_device(batch: Any, model: nn.Module) -> Any:
    """A record of tensors on the device of the model."""
    device = next(model.parameters()).device
    if device.type == "cpu":
        return batch
    moved = {f.name: getattr(batch, f.name).to(device, non_blocking=True) for f in fields(batch)}
    return replace(batch, **moved)
