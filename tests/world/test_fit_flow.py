"""Training the flow transformer on inputs so small that the answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from worldeval.data.latents import LatentEpisodes
from worldeval.world.actuation import Actuation
from worldeval.world.dit import DitDynamics
from worldeval.world.features import Features
from worldeval.world.fit_dynamics import context_of
from worldeval.world.fit_flow import fit_flow, flow_loss, longest_at
from worldeval.world.recipe import ActuationRecipe, DitRecipe, TrainerRecipe
from worldeval.world.windows import Windows

LATENT = (2, 3, 4, 4)
TINY = DitRecipe(width=32, depth=2, heads=2, patch=2, steps=2, unroll=((0.0, 1),))
TRAINER = TrainerRecipe(steps=80, batch=16, learning_rate=3e-3, ema=0.9)


def test_one_window_is_learned_by_heart() -> None:
    windows = some_windows(length=2)
    losses = []
    fitted = fit_flow(
        a_network(),
        windows,
        np.array([0]),
        TRAINER,
        latent_noise=0.0,
        pose_noise=0.0,
        seed=0,
        progress=lambda step, loss: losses.append(loss),
    )
    assert losses[0] == pytest.approx(1.0, abs=0.05)  # a new network predicts no change
    window = windows.batch(torch.tensor([0]), 1)
    context = context_of(window, 0, window.pose, window.latents[:, 1], window.latents[:, 0])
    imagined = fitted.model.predict(context, generators=None)
    left = (imagined - window.latents[:, 2]).square().mean()
    copied = (window.latents[:, 1] - window.latents[:, 2]).square().mean()
    assert left < 0.1 * copied


def test_training_on_own_samples_repeats_itself_by_seed() -> None:
    windows = some_windows(length=6)
    recipe = replace(TINY, unroll=((0.0, 1), (0.5, 3)))

    def fit(seed: int) -> float:
        trainer = replace(TRAINER, steps=21, batch=4)
        fitted = fit_flow(
            a_network(recipe),
            windows,
            np.array([0]),
            trainer,
            latent_noise=0.1,
            pose_noise=0.002,
            seed=seed,
        )
        return fitted.loss

    assert fit(0) == fit(0)
    assert fit(0) != fit(1)


def test_going_on_from_earlier_weights_keeps_the_scale_of_changes() -> None:
    model = a_network()
    model.fit_change(torch.full((1, *LATENT), 3.0))
    fitted = fit_flow(
        model,
        some_windows(length=4),
        np.array([0]),
        replace(TRAINER, steps=1, batch=2),
        latent_noise=0.0,
        pose_noise=0.0,
        seed=0,
    )
    assert fitted.model.change_std.unique().tolist() == [3.0]


def test_the_loss_visits_noise_as_often_as_it_is_told() -> None:
    times = []

    class Spy(torch.nn.Module):
        def forward(self, x, time, context):
            times.append(time)
            return x

    windows = some_windows(length=3)
    window = windows.batch(torch.zeros(40, dtype=torch.long), 1)
    context = context_of(window, 0, window.pose, window.latents[:, 1], window.latents[:, 0])
    change = window.latents[:, 2] - window.latents[:, 1]
    generator = torch.Generator().manual_seed(0)
    flow_loss(Spy(), change, context, at_noise=0.25, generator=generator)
    time = times[0].sort().values
    assert (time == 0).sum() == 10
    # The rest are spread evenly: the k-th of 30 lies in the k-th thirtieth.
    assert torch.equal((time[10:] * 30).floor(), torch.arange(30.0))


def test_windows_grow_on_schedule() -> None:
    schedule = ((0.0, 1), (0.5, 2), (0.75, 4))
    assert [longest_at(schedule, done) for done in (0.0, 0.49, 0.5, 0.8)] == [1, 1, 2, 4]


def a_network(recipe: DitRecipe = TINY) -> DitDynamics:
    torch.manual_seed(0)
    return DitDynamics(recipe, Features(pose_dim=4, action_dim=8, tasks=1), latent=LATENT)


def some_windows(*, length: int) -> Windows:
    """One episode of random frames, poses and actions."""
    rng = np.random.default_rng(0)
    data = LatentEpisodes(
        latents=rng.standard_normal((length, *LATENT)).astype(np.float16),
        actions=rng.standard_normal((length, 8)).astype(np.float32),
        pose=rng.standard_normal((length, 4)).astype(np.float32),
        task=np.zeros(1, np.int64),
        begin=np.zeros(1, np.int64),
        length=np.array([length]),
    )
    return Windows(data, Actuation(ActuationRecipe()), torch.ones(4))
