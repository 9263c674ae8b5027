"""Imagining on a device: the CPU's frames to the last digit, and one wait for every chunk."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.golden import hooks
from tests.support.pretend_device import DEVICE, MixedDevices, Noted
from worldeval.world.load import new_world
from worldeval.world.protocol import WorldSpec
from worldeval.world.walk import Walking, walk
from worldeval.world.world import World

FAMILIES = ("latent", "dit", "dit rotary", "uwm", "rssm", "ctrl_world")
CHUNK = 3
COPIES = {"device.py: on_host"}  # where states are copied out
SPEC = WorldSpec(
    views=("side", "top"),
    size=(16, 16),
    latent=(4, 4, 4),
    action_dim=8,
    pose_dim=4,
    tasks=("left", "right"),
    fps=16.0,
)
TASKS, SEEDS = ["left", "right", "left"], [4, 5, 6]


def a_world(kind: str) -> World:
    """A world in which everything speaks."""
    torch.manual_seed(0)
    kind, _, age = kind.partition(" ")
    recipe = hooks.recipe_of(kind)
    if kind == "dit":  # memory too, within a few frames
        recipe = replace(recipe, memory=1, window=1, steps=2, age=age or "learned")
    world = new_world(kind, SPEC, recipe).eval()
    with torch.no_grad():
        for weight in world.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    return world


def begun(world: World) -> object:
    rng = np.random.default_rng(0)
    frames = {view: rng.integers(0, 256, (3, 16, 16, 3), np.uint8) for view in SPEC.views}
    return world.begin(frames, rng.standard_normal((3, 4)).astype(np.float32), TASKS, SEEDS)


def imagined(world: World) -> list[np.ndarray]:
    """A chunk, a branch, an observation, a step and a picture: all that a roll-out does."""
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1, 1, (3, CHUNK, 8)).astype(np.float32)
    walked = walk(world, begun(world), actions)
    state = world.branch(walked.state, np.array([0, 2, 2]))
    frames = {view: rng.integers(0, 256, (3, 16, 16, 3), np.uint8) for view in SPEC.views}
    state = world.observe(state, frames, np.zeros((3, 4), np.float32), ["left"] * 3)
    state = world.step(state, actions[:, 0])
    latents = world.latents(state)
    shown = world.render(latents, ["left"] * 3)
    return [walked.latents, walked.pose, latents, world.pose(state), *shown.values()]


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_world_imagines_the_same_on_a_device(kind: str, noted: Noted) -> None:
    expected = imagined(a_world(kind))
    world = a_world(kind).to(DEVICE)
    noted.clear()
    found = imagined(world)
    for here, there in zip(expected, found, strict=True):
        within = 1 if here.dtype == np.uint8 else 1e-5  # a pixel's value may be rounded otherwise
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=within)
    assert set(noted.waits) <= COPIES


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_chunk_waits_for_the_device_once(kind: str, noted: Noted) -> None:
    world = a_world(kind).to(DEVICE)
    state = begun(world)
    noted.clear()
    assert isinstance(world, Walking)
    walked = world.walk(state, np.zeros((3, CHUNK, 8), np.float32))
    assert walked.latents.shape[:2] == (3, CHUNK)
    assert noted.waits == {"device.py: on_host": 2}  # latents and poses, copied together


def test_the_rules_of_the_device_themselves(noted: Noted) -> None:
    there, here = torch.ones(3, device=DEVICE), torch.ones(3)
    with pytest.raises(MixedDevices, match="add of pretend"):
        _ = there + here
    with pytest.raises(MixedDevices, match="index"):
        _ = there[torch.tensor([0, 1])]
    assert not noted.waits
    assert float((there + 2 * torch.ones(())).sum()) == 9  # a lone number may come from the CPU
    assert sum(noted.waits.values()) == 1
    for waits in (lambda: there.cpu(), lambda: bool(there[0] > 0), lambda: there[there > 0]):
        noted.clear()
        waits()
        assert sum(noted.waits.values()) == 1
    with pytest.raises(RuntimeError, match="not supported"):
        there.numpy()


def test_a_recurrent_layer_is_that_of_the_cpu(noted: Noted) -> None:
    torch.manual_seed(0)
    layer, x = nn.GRU(3, 4, batch_first=True), torch.randn(2, 5, 3)
    gradients: list[list[torch.Tensor]] = []
    move: list[Callable[[torch.Tensor], torch.Tensor]] = [lambda t: t, lambda t: t.to(DEVICE)]
    for to in move:
        own = nn.GRU(3, 4, batch_first=True)
        own.load_state_dict(layer.state_dict())
        if to is move[1]:
            own.to(DEVICE)
        own(to(x))[0].square().sum().backward()
        found = [each.grad for each in own.parameters() if each.grad is not None]
        gradients.append([each.cpu() for each in found])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)
