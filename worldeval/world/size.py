"""Count the parameters of a recipe's networks from shapes, without allocating weights."""

from dataclasses import replace

import torch
from torch import nn

from worldeval.world.families import family
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.recipe import WorldRecipe
from worldeval.world.tokenizer.network import Tokenizer


def parameters(kind: str, recipe: WorldRecipe) -> int:
    """Count trainable parameters of a `kind` world on the data its recipe is written for.

    The count includes the kinematics and, where there is one, this project's own tokenizer.

    Raises:
        UserError: a package that the family needs is not installed.
    """
    with torch.device("meta"):
        parts: list[nn.Module] = []
        if recipe.actuation.scale:
            parts.append(_own_tokenizer(recipe))
        parts.append(family(kind).new(layout_of(recipe), recipe))
    return sum(
        weight.numel() for part in parts for weight in part.parameters() if weight.requires_grad
    )


def layout_of(recipe: WorldRecipe) -> WorldSpec:
    """The layout of the data that a recipe is written for."""
    if recipe.actuation.scale:
        with torch.device("meta"):
            return replace(SMALL, latent=_own_tokenizer(recipe).grid)
    return replace(DROID, action_dim=TURNED, pose_dim=TURNED) if recipe.turned else DROID


def _own_tokenizer(recipe: WorldRecipe) -> Tokenizer:
    own = replace(recipe.tokenizer, folder="")
    return Tokenizer(own, tasks=len(SMALL.tasks), views=len(SMALL.views), size=SMALL.size)


# Two layouts. A recipe with relative actions (`actuation.scale`) is meant for a small simulated
# arm: five controller steps per frame, and latents of this project's tokenizer.
SMALL = WorldSpec(
    views=("side", "top"),
    size=(64, 64),
    latent=(16, 8, 8),
    action_dim=20,
    pose_dim=4,
    tasks=("button", "door", "drawer", "faucet", "window"),
    fps=16.0,
)
# The others are meant for DROID as Ctrl-World stores it: absolute poses and SVD latents.
DROID = WorldSpec(
    views=("exterior_1", "exterior_2", "wrist"),
    size=(192, 320),
    latent=(4, 24, 40),
    action_dim=7,
    pose_dim=7,
    tasks=(ANY_TASK,),
    fps=5.0,
)
TURNED = 10  # numbers per pose with a 6-D rotation, as most families train it
