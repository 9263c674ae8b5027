"""States that branch and are told what is there, in every family, whatever it has learned."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.dit import SPEC, a_world
from tests.world.rssm.tiny import new_world as new_rssm
from tests.world.uwm.tiny import new_world as new_uwm
from worldeval.world.branch import Branching
from worldeval.world.latent import family as latent_family
from worldeval.world.latent.recipe import LatentRecipe
from worldeval.world.recipe import KinematicsRecipe
from worldeval.world.world import World


def new_latent() -> World:
    torch.manual_seed(0)
    small = KinematicsRecipe(width=16, depth=1, sight=4)
    return latent_family.new(SPEC, LatentRecipe(width=16, depth=1, kinematics=small))


FAMILIES = [new_latent, a_world, new_uwm, new_rssm]


def begun(world: World, count: int) -> Any:
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((count, len(world.spec.views), *world.spec.latent))
    pose = rng.uniform(-0.3, 0.3, (count, 4)).astype(np.float32)
    tasks = [world.spec.tasks[row % 2] for row in range(count)]
    return world.begin_latents(torch.from_numpy(latents).float(), pose, tasks, list(range(count)))


def actions(world: World, count: int, seed: int) -> np.ndarray:
    size = (count, world.spec.action_dim)
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)


@pytest.mark.parametrize("new", FAMILIES)
def test_a_branch_goes_on_as_its_episode_would(new: Callable[[], World]) -> None:
    """Two episodes; the second one branches twice, and all three are told the same as before."""
    world = new()
    assert isinstance(world, Branching)
    state = world.step(begun(world, 2), actions(world, 2, 1))
    given, rows = actions(world, 2, 2), np.array([1, 0, 1])
    branched = world.step(world.branch(state, rows), given[rows])
    whole = world.step(state, given)  # draws as if nothing had branched off
    for told in (world.latents, world.pose):
        np.testing.assert_allclose(told(branched), told(whole)[rows], atol=1e-5)


@pytest.mark.parametrize("new", FAMILIES)
def test_what_is_observed_takes_the_place_of_what_was_imagined(new: Callable[[], World]) -> None:
    world = new()
    state = world.step(begun(world, 2), actions(world, 2, 1))
    there = world.latents(state) + 1
    seen = torch.from_numpy(there)
    pose = world.pose(state) + np.float32(0.05)
    told = world.observe_latents(world.branch(state, np.arange(2)), seen, pose)
    np.testing.assert_allclose(world.latents(told), there, atol=1e-6)
    np.testing.assert_allclose(world.pose(told), pose, atol=1e-6)
    # What is imagined next follows from it.
    given = actions(world, 2, 2)
    after, before = world.step(told, given), world.step(state, given)
    assert np.abs(world.latents(after) - world.latents(before)).max() > 1e-3
    assert after.latents.shape[1] == 3
