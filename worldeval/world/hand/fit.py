"""Train what families share: the statistics of motion, and the kinematics."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Int
from worldeval.training.ahead import Ahead
from worldeval.training.optimise import Fitted, Progress, optimise, unwrapped
from worldeval.training.processes import on_device, own_rows
from worldeval.world.features import PAST_ACTIONS, Features
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.recipe import KinematicsRecipe
from worldeval.world.training.windows import Window, Windows


def fit_features(features: Features, windows: Windows, episodes: Int[Array, " e"]) -> None:
    """Compute normalisation statistics from the training episodes."""
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
    """Train on the model's own predicted poses, `recipe.unroll` frames in a row.

    With several processes, all draw the same batch and each uses its own rows of it.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, size = windows.data.draws(episodes, recipe.unroll), recipe.trainer.batch
    mine = own_rows(size)

    def draw(step: int) -> tuple[Tensor, list[Tensor]]:
        """Rows, and the noise of every frame's latents."""
        chosen, latent = rows(size, generator), windows.data.latents.shape[1:]
        width = math.prod(latent)
        noise = (torch.randn(size, width, generator=generator) for _ in range(recipe.unroll))
        return chosen[mine], [each[mine] for each in noise]

    def make(drawn: tuple[Tensor, list[Tensor]]) -> Window:
        """The window, with noise in its latents."""
        chosen, noise = drawn
        window = windows.moving(chosen, recipe.unroll)
        seen = latent_noise * torch.stack(noise, 1).view_as(window.latents)
        return replace(window, latents=window.latents + seen)

    batches = Ahead(draw, make, generator, steps=recipe.trainer.steps)

    def loss_of(net: nn.Module, step: int) -> Tensor:
        batch = on_device(batches(step), net)
        pose, losses = batch.pose.clone(), []
        assert batch.first is not None
        first = batch.first.flatten(1)
        for ahead in range(recipe.unroll):
            latent = batch.latents[:, ahead].flatten(1)
            now = PAST_ACTIONS + ahead
            predicted = net(latent, first, batch.motion(now, pose))
            error = (predicted - batch.pose[:, now + 1]) / unwrapped(net).features.step_std
            losses.append(nn.functional.smooth_l1_loss(error, torch.zeros_like(error)))
            pose = torch.cat([pose[:, : now + 1], predicted[:, None], pose[:, now + 2 :]], 1)
        return torch.stack(losses).mean()

    try:
        return optimise(model, loss_of, recipe.trainer, progress=progress)
    finally:
        batches.close()
