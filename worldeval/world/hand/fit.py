"""Train what families share: the statistics of motion, and the kinematics."""

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Int
from worldeval.training.optimise import Fitted, Progress, optimise, unwrapped
from worldeval.training.processes import on_device
from worldeval.world.features import PAST_ACTIONS, Features
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.recipe import KinematicsRecipe
from worldeval.world.training.windows import Windows, noisy


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
    """Train on the model's own predicted poses, `recipe.unroll` frames in a row."""
    generator = torch.Generator().manual_seed(seed)
    rows = windows.data.draws(episodes, recipe.unroll)

    def loss_of(net: nn.Module, step: int) -> Tensor:
        chosen = rows(recipe.trainer.batch, generator)
        batch = on_device(windows.unrolled(chosen, recipe.unroll), net)
        pose, losses = batch.pose.clone(), []
        assert batch.first is not None
        first = batch.first.flatten(1)
        for ahead in range(recipe.unroll):
            latent = noisy(batch.latents[:, 1 + ahead].flatten(1), latent_noise, generator)
            now = PAST_ACTIONS + ahead
            predicted = net(latent, first, batch.motion(now, pose))
            error = (predicted - batch.pose[:, now + 1]) / unwrapped(net).features.step_std
            losses.append(nn.functional.smooth_l1_loss(error, torch.zeros_like(error)))
            pose = torch.cat([pose[:, : now + 1], predicted[:, None], pose[:, now + 2 :]], 1)
        return torch.stack(losses).mean()

    return optimise(model, loss_of, recipe.trainer, progress=progress)
