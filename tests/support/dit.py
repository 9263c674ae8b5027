"""A small `dit` on random episodes: every part of it speaks, so that all of it can be heard."""

import numpy as np
import torch

from worldeval.data.latents import LatentEpisodes
from worldeval.world.dit.family import new
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.dit.world import DitWorld
from worldeval.world.hand.commands import actuation_of
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe, KinematicsRecipe
from worldeval.world.training.windows import Windows

SPEC = WorldSpec(
    views=("side", "top"),
    size=(32, 32),
    latent=(3, 4, 4),
    action_dim=8,
    pose_dim=4,
    tasks=("left", "right"),
    fps=16.0,
)
LATENT = (2, 3, 4, 4)  # v d h w
TINY = DitRecipe(
    width=24,
    depth=2,
    heads=2,
    patch=2,
    window=3,
    memory=2,
    steps=2,
    length=6,
    kinematics=KinematicsRecipe(width=16, depth=1, sight=4),
)


def a_world(recipe: DitRecipe = TINY) -> DitWorld:
    """A world without a zero weight."""
    torch.manual_seed(0)
    world = new(SPEC, recipe)
    with torch.no_grad():
        for weight in world.dynamics.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    world.eval()
    return world


def some_windows(*lengths: int, seed: int = 0) -> Windows:
    """Episodes of random frames, poses and actions."""
    rng, rows = np.random.default_rng(seed), sum(lengths)
    data = LatentEpisodes(
        latents=rng.standard_normal((rows, *LATENT)).astype(np.float16),
        actions=rng.standard_normal((rows, 8)).astype(np.float32),
        pose=rng.standard_normal((rows, 4)).astype(np.float32),
        task=np.arange(len(lengths)) % 2,
        begin=np.cumsum(lengths) - np.array(lengths),
        length=np.array(lengths),
    )
    return Windows(data, actuation_of(ActuationRecipe(), SPEC), torch.ones(4))
