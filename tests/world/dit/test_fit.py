"""Training on episodes so small that the answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.dit import SPEC, TINY, a_world, some_windows
from worldeval.training.recipe import TrainerRecipe, scheduled
from worldeval.world.dit.family import new_network
from worldeval.world.dit.fit import fit_dit, imagined
from worldeval.world.dit.loss import flow_loss, sequence_of

TRAINER = TrainerRecipe(steps=60, batch=8, learning_rate=5e-3, ema=0.9)


def test_one_sequence_is_learned_by_heart() -> None:
    windows, losses = some_windows(3), []
    torch.manual_seed(0)
    recipe = replace(TINY, length=3, imagined=((0.0, 0),))
    model = fit_dit(
        new_network(SPEC, recipe),
        windows,
        np.array([0]),
        TRAINER,
        latent_noise=0.0,
        pose_noise=0.0,
        seed=0,
        progress=lambda step, loss: losses.append(loss),
    ).model
    assert losses[0] == pytest.approx(1.0, abs=0.1)  # a new network predicts no change
    cut = sequence_of(windows, torch.tensor([0]), 3, TINY)
    drawn = imagined(model, cut, torch.Generator().manual_seed(0))
    left = (drawn.latents - cut.latents)[:, 1:].square().mean()
    copied = cut.change()[:, 1:].square().mean()
    assert left < 0.25 * copied


def test_training_on_own_histories_repeats_itself_by_seed() -> None:
    def fit(seed: int) -> float:
        torch.manual_seed(0)
        recipe = replace(TINY, imagined=((0.0, 2),))
        return fit_dit(
            new_network(SPEC, recipe),
            some_windows(9, 7),
            np.array([0, 1]),
            replace(TRAINER, steps=3, batch=2),
            latent_noise=0.1,
            pose_noise=0.002,
            seed=seed,
        ).loss

    assert fit(0) == fit(0)
    assert fit(0) != fit(1)


def test_parts_of_a_batch_are_drawn_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def loss(net, change, *rest, **more):
        sizes.append(len(change))
        return flow_loss(net, change, *rest, **more)

    monkeypatch.setattr("worldeval.world.dit.fit.flow_loss", loss)
    trainer = replace(TRAINER, steps=2, batch=4)
    recipe = replace(TINY, accumulate=2, trainer=trainer, imagined=((0.0, 0),))
    given = {"latent_noise": 0.0, "pose_noise": 0.0, "seed": 0}
    model, every = new_network(SPEC, recipe), np.array([0, 1])
    fit_dit(model, some_windows(9, 7), every, trainer, **given)
    assert sizes == [2] * 4
    with pytest.raises(ValueError, match="accumulate: 3 does not divide"):
        replace(recipe, accumulate=3)


def test_a_sequence_knows_its_past_and_remembers_what_is_older_than_its_window() -> None:
    windows = some_windows(12)
    cut = sequence_of(windows, torch.tensor([6]), 4, TINY)
    data = torch.from_numpy(windows.data.latents).float()
    assert torch.equal(cut.latents[0], data[6:10])
    assert torch.equal(cut.given.previous, data[5:9])
    assert torch.equal(cut.given.first, data[[0] * 4])
    assert torch.equal(cut.given.motion.action, windows.actions[5:9])
    assert torch.equal(cut.given.motion.past_poses[:, 1], windows.pose[3:7])
    assert torch.equal(cut.given.next_pose, windows.pose[6:10])
    memory = cut.memory
    assert memory is not None and memory.there is not None and memory.there.all()
    for place, frame in enumerate(range(6, 10)):
        older = windows.pose[: frame - 3]
        nearest = (older - windows.pose[frame]).square().sum(1).argsort()[:2]
        assert (frame - memory.age[place]).tolist() == nearest.tolist()
        assert torch.equal(memory.latents[place], data[nearest])


def test_a_start_stands_still_and_remembers_nothing() -> None:
    windows = some_windows(8)
    cut = sequence_of(windows, torch.tensor([0]), 4, replace(TINY, memory=1))
    assert (cut.change()[0, 0] == 0).all()
    assert (cut.given.motion.action[0] == 0).all()
    assert torch.equal(cut.given.motion.pose[0], windows.pose[0])
    assert cut.memory is not None and cut.memory.there is not None
    assert not cut.memory.there[:4].any()


def test_an_imagined_history_keeps_what_was_observed() -> None:
    cut = sequence_of(some_windows(9), torch.tensor([0]), 5, TINY)
    drawn = imagined(a_world().dynamics, cut, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.latents[:, 0], cut.latents[:, 0])
    assert not torch.allclose(drawn.latents[:, 1], cut.latents[:, 1])
    assert torch.equal(drawn.given.previous[2], drawn.latents[0, 1])


def test_the_loss_visits_noise_as_often_as_it_is_told() -> None:
    times = []

    class Spy(torch.nn.Module):
        def forward(self, x, time, sequence):
            times.append(time)
            return x

    cut = sequence_of(some_windows(10), torch.zeros(5).long(), 8, replace(TINY, memory=0))
    generator = torch.Generator().manual_seed(0)
    flow_loss(Spy(), cut.change(), cut, at_noise=0.25, generator=generator)
    time = times[0].flatten().sort().values
    assert (time == 0).sum() == 10
    # The rest are spread evenly: the k-th of 30 lies in the k-th thirtieth.
    assert torch.equal((time[10:] * 30).floor(), torch.arange(30.0))


def test_histories_are_imagined_on_schedule() -> None:
    schedule = ((0.0, 0), (0.5, 1), (0.75, 2))
    assert [scheduled(schedule, done) for done in (0.0, 0.49, 0.5, 0.8)] == [0, 0, 1, 2]
