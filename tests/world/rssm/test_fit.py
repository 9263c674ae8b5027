"""Training: what sequences hold, what the loss asks, and that a known robot is learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.dots import ACTUATION, LATENT, SPEC, walks, windows_of
from tests.world.rssm.tiny import TINY, new_model, new_world
from worldeval.errors import UserError
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.fidelity.replay import open_loop
from worldeval.world.hand.fit import fit_features
from worldeval.world.rssm.fit import fit_rssm
from worldeval.world.rssm.loss import sequence_loss
from worldeval.world.rssm.world import RssmWorld
from worldeval.world.training.windows import steps

AHEAD = steps(0, 3)
TRAINER = TrainerRecipe(steps=130, batch=16, learning_rate=8e-3, ema=0.9)


def test_sequences_hold_one_episode_in_order() -> None:
    data = walks(episodes=3, length=6)
    batch = windows_of(data).cut(torch.tensor([7, 2]), AHEAD)
    assert torch.equal(batch.pose[0], torch.from_numpy(data.pose[7:11]))
    assert torch.equal(batch.latents[1], data.gather(np.arange(2, 6)))
    assert torch.equal(batch.actions[1, :3], torch.from_numpy(data.actions[2:5]))
    # The command is the clipped sum of all actions since the episode began.
    wanted = data.pose[6, 0] + 0.2 * data.actions[6:7, 0].sum()
    assert float(batch.command[0, 0, 0]) == pytest.approx(float(wanted), abs=1e-6)


def uniform_for(rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 4, rows, TINY.groups, TINY.classes, generator=generator)


def test_the_loss_of_rows_is_the_mean_of_each_alone() -> None:
    model = new_world().model
    cutter, uniform = windows_of(walks()), uniform_for(2)
    both = sequence_loss(model, cutter.cut(torch.tensor([0, 20]), AHEAD), uniform)
    each = [
        sequence_loss(model, cutter.cut(torch.tensor([row]), AHEAD), uniform[:, :, [i]])
        for i, row in enumerate((0, 20))
    ]
    torch.testing.assert_close(both, torch.stack(each).mean())


def test_later_frames_do_not_reach_what_is_imagined_from_the_first() -> None:
    """With only the overshoot's targets changed, its gradient by later inputs must vanish."""
    model = new_world().model
    batch = windows_of(walks()).cut(torch.tensor([0]), AHEAD)
    noise = torch.zeros(1, 4, *LATENT, requires_grad=True)
    by_loss = {}
    for overshoot in (0.0, 1.0):
        model.recipe = replace(TINY, overshoot=overshoot)
        loss = sequence_loss(model, batch, uniform_for(1), noise=noise)
        (by_loss[overshoot],) = torch.autograd.grad(loss, noise)
    only = (by_loss[1.0] - by_loss[0.0])[0]
    assert only[0].abs().max() > 1e-8  # the first frame is seen
    assert only[1:].abs().max() < 1e-9


def test_unjudged_data_train_no_head() -> None:
    model = new_world().model
    batch = windows_of(walks(judged=False)).cut(torch.tensor([0, 9]), AHEAD)
    loss = sequence_loss(model, batch, uniform_for(2))
    loss.backward()
    for head in (model.success, model.goes_on, model.reward):
        assert not any(p.grad is not None and p.grad.any() for p in head.parameters())


def test_a_known_robot_is_learned() -> None:
    data = walks(episodes=40)
    windows, training, held = windows_of(data), np.arange(34), np.arange(34, 40)
    model = new_model()
    fit_features(model.features, windows, training)
    fitted = fit_rssm(model, windows, training, TRAINER, latent_noise=0.0, seed=0)
    world = RssmWorld(SPEC, tokenizer=None, model=fitted.model, actuation=ACTUATION)
    fidelity = open_loop(world, data, held, horizons=(4,))["h4"]
    assert fidelity["latent_mse"] < 0.5 * fidelity["copy_mse"]
    assert fidelity["hand_mm"] < 150  # it walks about 500 mm in four frames
    assert bool(world.model.judged)


def test_sequences_longer_than_the_data_are_refused() -> None:
    windows = windows_of(walks(length=3))
    with pytest.raises(UserError, match="Set length below"):
        fit_rssm(new_model(), windows, np.arange(3), TRAINER, latent_noise=0.0, seed=0)
