"""Register `uwm` as a family: network.py holds the transformer, fit.py its training."""

from dataclasses import replace

import numpy as np

from worldeval.world.families import Family, Fitting
from worldeval.world.features import features_of
from worldeval.world.hand.commands import actuation_of
from worldeval.world.hand.fit import fit_features
from worldeval.world.hand.kinematics import new_kinematics
from worldeval.world.protocol import WorldSpec
from worldeval.world.uwm.fit import action_free, fit_uwm
from worldeval.world.uwm.network import Uwm
from worldeval.world.uwm.recipe import UwmRecipe
from worldeval.world.uwm.world import UwmWorld


def new(spec: WorldSpec, recipe: UwmRecipe) -> UwmWorld:
    """Build a world with fresh weights."""
    features = features_of(spec)
    return UwmWorld(
        spec,
        tokenizer=None,
        kinematics=new_kinematics(recipe.kinematics, spec),
        model=Uwm(recipe, features, latent=(len(spec.views), *spec.latent)),
        actuation=actuation_of(recipe.actuation, spec),
    )


def fit(fitting: Fitting) -> UwmWorld:
    """Kinematics, then the transformer. Nothing learns from the actions of action-free episodes."""
    recipe: UwmRecipe = fitting.recipe
    world: UwmWorld = fitting.world
    free = action_free(fitting.episodes, recipe.action_free, marked=fitting.prepared.episodes.video)
    acting = replace(fitting, episodes=np.setdiff1d(fitting.episodes, free))
    if fitting.fresh:
        fit_features(world.model.features, acting.windows(), acting.episodes)
    hand = acting.hand()
    world.kinematics = hand.kinematics
    world.model = fit_uwm(
        world.model,
        hand.windows,
        fitting.episodes,
        recipe.trainer,
        latent_noise=recipe.latent_noise,
        pose_noise=recipe.pose_noise,
        seed=fitting.seed,
        progress=fitting.report(f"{fitting.stage}: dynamics", recipe.trainer.steps),
        checkpoint=fitting.checkpoint,
    ).model
    return world


FAMILY = Family(recipe=UwmRecipe, new=new, fit=fit)
