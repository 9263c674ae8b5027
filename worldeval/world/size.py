"""How large the networks of a recipe are: counted from shapes, no weight is allocated."""

from dataclasses import replace

import torch
from torch import nn

from worldeval.world.families import family
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.recipe import WorldRecipe
from worldeval.world.tokenizer.build import new_tokenizer


def parameters(kind: str, recipe: WorldRecipe) -> int:
    """Trainable weights of a world of family `kind` on the data that the recipe is written for.

    Those of kinematics and of a tokenizer of our own are among them.

    Raises:
        UserError: a package that the family is made of is not installed.
    """
    with torch.device("meta"):
        parts: list[nn.Module] = []
        spec = DROID
        if recipe.actuation.scale:
            own = replace(recipe.tokenizer, folder="")
            views, tasks = len(SMALL.views), len(SMALL.tasks)
            tokenizer = new_tokenizer(own, tasks=tasks, views=views, size=SMALL.size)
            parts.append(tokenizer)
            spec = replace(SMALL, latent=tokenizer.grid)
        elif recipe.turned:
            spec = replace(DROID, action_dim=TURNED, pose_dim=TURNED)
        parts.append(family(kind).new(spec, recipe))
    return sum(
        weight.numel() for part in parts for weight in part.parameters() if weight.requires_grad
    )


# Two layouts. A recipe that moves by shares of a step (`actuation.scale`) is one for a
# small simulated arm: five steps of the controller a frame, and latents of our own tokenizer.
SMALL = WorldSpec(
    views=("side", "top"),
    size=(64, 64),
    latent=(16, 8, 8),
    action_dim=20,
    pose_dim=4,
    tasks=("button", "door", "drawer", "faucet", "window"),
    fps=16.0,
)
# The others are for DROID as Ctrl-World stores it: absolute poses, and SVD's latents.
DROID = WorldSpec(
    views=("exterior_1", "exterior_2", "wrist"),
    size=(192, 320),
    latent=(4, 24, 40),
    action_dim=7,
    pose_dim=7,
    tasks=(ANY_TASK,),
    fps=5.0,
)
TURNED = 10  # numbers of a pose whose rotation is in six, as most families train it
