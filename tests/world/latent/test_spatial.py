"""The spatial network with known answers: a pushed block moves, an untouched one stays."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support import pusher
from worldeval.errors import UserError
from worldeval.recipe import load
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.hand.fit import fit_features
from worldeval.world.latent import family as latent_family
from worldeval.world.latent.fit import context_of, fit_unrolled
from worldeval.world.latent.own_cells import own_cells
from worldeval.world.latent.spatial import SpatialDynamics
from worldeval.world.recipe import CameraRecipe

HELD = np.arange(120, 150)
SMALL = pusher.recipe("spatial", width=16, depth=2)


@pytest.fixture(scope="module")
def windows():
    return pusher.windows_of(pusher.pushes())


@pytest.fixture(scope="module")
def learned(windows) -> SpatialDynamics:
    torch.manual_seed(0)
    model = latent_family.new(pusher.SPEC, SMALL).dynamics
    episodes = np.arange(120)
    fit_features(model.features, windows, episodes)
    trainer = TrainerRecipe(steps=250, batch=24, learning_rate=5e-3, ema=0.98)
    return fit_unrolled(
        model, windows, episodes, trainer,
        unroll=((0.0, 1), (0.6, 2)), latent_noise=0.1, pose_noise=0.0, seed=0, own=0.5,
    ).model  # fmt: skip


def test_a_pushed_block_moves_and_an_untouched_one_stays(windows, learned) -> None:
    rows = torch.from_numpy(windows.data.transitions(HELD, 3))
    batch = windows.unrolled(rows, 3)
    previous, latent = batch.latents[:, 0], batch.latents[:, 1]
    with torch.inference_mode():
        for ahead in range(3):  # on its own predictions
            context = context_of(batch, ahead, batch.pose, latent, previous)
            previous, latent = latent, learned(context)
    start, truth = (block_of(batch.latents[:, at]) for at in (1, 4))
    pushed = start != truth
    assert 20 < pushed.sum() < len(rows) - 20
    right = block_of(latent) == truth
    assert right[pushed].float().mean() > 0.9
    assert right[~pushed].float().mean() > 0.95


def block_of(latents: torch.Tensor) -> torch.Tensor:
    """The cell where the block is."""
    return latents[:, 0, 1].flatten(1).argmax(1)


def test_an_untrained_network_repeats_the_newest_frame(windows) -> None:
    world = latent_family.new(pusher.SPEC, SMALL).eval()
    start = torch.randn(3, 1, 2, pusher.SIDE, pusher.SIDE)
    state = world.begin_latents(start, np.zeros((3, 4), np.float32), ["push"] * 3, [0, 1, 2])
    state = world.step(state, np.zeros((3, 4), np.float32))
    np.testing.assert_allclose(world.latents(state), start.numpy(), atol=1e-6)


def test_the_views_are_shown_to_each_other(windows) -> None:
    spec = replace(pusher.SPEC, views=("side", "top"))
    torch.manual_seed(0)
    model = latent_family.new(spec, SMALL).dynamics
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    one = windows.unrolled(torch.tensor([0, 1]), 1)
    context = context_of(one, 0, one.pose, one.latents[:, 1], one.latents[:, 0])
    frames = ("latent", "previous", "first", "memory")
    both = replace(
        context, **{name: getattr(context, name).repeat(1, 2, 1, 1, 1) for name in frames}
    )
    changed = both.latent.clone()
    changed[:, 0] += 1
    with torch.inference_mode():
        apart = model(replace(both, latent=changed))[:, 1] - model(both)[:, 1]
    assert (apart.abs() > 1e-5).any()


def test_known_cameras_add_maps_of_the_hand() -> None:
    camera = CameraRecipe(lookat=(0, 0, 0), distance=1.0, azimuth=90, elevation=-90)
    recipe = replace(SMALL, cameras={"push": {"top": camera}})
    model = latent_family.new(pusher.SPEC, recipe).dynamics
    assert isinstance(model, SpatialDynamics) and model.hands is not None
    without = latent_family.new(pusher.SPEC, SMALL).dynamics
    assert model.stem.in_features == without.stem.in_features + model.hands.channels


def test_cells_of_the_block_count_more_than_those_of_the_hand(windows) -> None:
    weight = own_cells(windows, np.arange(120), own=4.0)
    rows = torch.from_numpy(windows.data.transitions(np.arange(120), 0))
    assert weight[rows].mean() == pytest.approx(1, rel=1e-4)
    latents = windows.data.gather(rows.numpy())[:, 0]
    hand, block = (latents[:, channel].flatten(1).argmax(1) for channel in (0, 1))
    apart = hand != block
    own = weight[rows].flatten(1)
    of_hand, of_block = (own.gather(1, at[:, None])[apart].mean() for at in (hand, block))
    assert of_block > 2 * of_hand


def test_training_goes_on_where_it_stopped(windows, tmp_path) -> None:
    model = latent_family.new(pusher.SPEC, SMALL).dynamics
    episodes = np.arange(120)
    fit_features(model.features, windows, episodes)
    given = {
        "unroll": ((0.0, 1),), "latent_noise": 0.1, "pose_noise": 0.0, "seed": 0,
        "saving": (tmp_path / "training.pt", 4),
    }  # fmt: skip
    trainer = TrainerRecipe(steps=8, batch=8)
    whole = fit_unrolled(model, windows, episodes, trainer, **given)
    seen: list[int] = []
    again = fit_unrolled(
        model, windows, episodes, trainer, **given, progress=lambda step, loss: seen.append(step)
    )
    assert not seen  # it was finished
    assert again.loss == pytest.approx(whole.loss)


def test_recipes_say_what_does_not_fit() -> None:
    assert load("latent", "model").config.network == "spatial"
    assert load("latent-mlp", "model").config.network == "mlp"
    with pytest.raises(UserError, match="network"):
        load("latent", "model", {"network": "conv"})
    camera = {"lookat": [0, 0, 0], "distance": 1, "azimuth": 0, "elevation": 0}
    with pytest.raises(UserError, match="only the spatial network"):
        load("latent-mlp", "model", {"cameras": {"push": {"top": camera}}})
