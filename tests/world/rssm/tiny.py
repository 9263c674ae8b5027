"""Recurrent state-space models of a few hundred numbers, for the robot of tests/support/dots.py."""

import torch

from tests.support.dots import ACTUATION, LATENT, SPEC
from worldeval.world.features import Features
from worldeval.world.rssm.network import Rssm
from worldeval.world.rssm.recipe import RssmRecipe
from worldeval.world.rssm.world import RssmWorld

TINY = RssmRecipe(deter=24, groups=3, classes=4, width=24, channels=8, length=3)


def new_model(recipe: RssmRecipe = TINY) -> Rssm:
    torch.manual_seed(0)
    return Rssm(recipe, Features(pose_dim=4, action_dim=4, tasks=2), latent=LATENT)


def new_world(recipe: RssmRecipe = TINY, *, judged: bool = True) -> RssmWorld:
    """An untrained world whose every head says something."""
    model = new_model(recipe)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    model.judged.fill_(judged)
    return RssmWorld(SPEC, tokenizer=None, model=model.eval(), actuation=ACTUATION)
