"""Training on a robot about which everything is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.dots import walks, windows_of
from tests.world.uwm.tiny import TINY, begun, new_model, new_world
from worldeval.errors import UserError
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.hand.fit import fit_features
from worldeval.world.uwm.fit import fit_uwm
from worldeval.world.uwm.network import Uwm

SHORT = TrainerRecipe(steps=4, batch=4, ema=0.9)


def fitted(trainer: TrainerRecipe = SHORT, *, seed: int = 0, checkpoint: Path | None = None):
    data = walks(episodes=40, length=7)
    windows, training = windows_of(data), np.arange(34)
    model = new_model(replace(TINY, save_every=3), spoken=False)
    fit_features(model.features, windows, training)
    given = {"latent_noise": 0.05, "pose_noise": 0.0, "seed": seed, "checkpoint": checkpoint}
    return data, fit_uwm(model, windows, training, trainer, **given)


def test_a_known_robot_is_learned_in_every_direction() -> None:
    trainer = TrainerRecipe(steps=200, batch=32, learning_rate=6e-3, ema=0.95)
    data, result = fitted(trainer)
    world, held = new_world(), np.arange(34, 40)
    world.model = result.model
    begin = data.begin[held]
    # Forward: what three actions lead to, from the first frame.
    state = begun(world, data, held)
    for i in range(3):
        state = world.step(state, data.actions[begin + i])
    truth, first = data.gather(begin + 3), data.gather(begin)
    assert (state.latents[:, -1] - truth).square().mean() < 0.5 * (first - truth).square().mean()
    # Inverse: what was done between the frames.
    rows = begin[:, None] + np.arange(7)
    latents = data.gather(rows.ravel()).numpy().reshape(6, 7, *data.latents.shape[1:])
    done, tasks = data.actions[rows[:, :-1]], ["left", "right"] * 3
    found = world.infer(latents, data.pose[rows], done, tasks, seed=0)
    assert np.corrcoef(found[..., 0].ravel(), done[..., 0].ravel())[0, 1] > 0.5


def test_a_training_repeats_itself_by_seed() -> None:
    assert fitted()[1].loss == fitted()[1].loss
    assert fitted()[1].loss != fitted(seed=1)[1].loss


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def weights(model: Uwm) -> torch.Tensor:
        return torch.cat([each.detach().flatten() for each in model.parameters()])

    path = tmp_path / "training.pt"
    _, whole = fitted(checkpoint=path)
    assert torch.load(path, weights_only=True)["step"] == 3  # of four
    _, again = fitted(checkpoint=path)
    assert torch.equal(weights(again.model), weights(whole.model))


def test_chunks_longer_than_the_data_are_refused() -> None:
    windows = windows_of(walks(length=3))
    with pytest.raises(UserError, match="Set chunk below"):
        fit_uwm(new_model(), windows, np.arange(2), SHORT, latent_noise=0.0, pose_noise=0.0, seed=0)
