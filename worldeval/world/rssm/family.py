"""Register `rssm` as a family: network.py holds the model, fit.py its training."""

from worldeval.world.families import Family, Fitting
from worldeval.world.features import features_of
from worldeval.world.hand.commands import actuation_of
from worldeval.world.hand.fit import fit_features
from worldeval.world.protocol import WorldSpec
from worldeval.world.rssm.fit import fit_rssm
from worldeval.world.rssm.network import Rssm
from worldeval.world.rssm.recipe import RssmRecipe
from worldeval.world.rssm.world import RssmWorld


def new(spec: WorldSpec, recipe: RssmRecipe) -> RssmWorld:
    """Build a world with fresh weights."""
    features = features_of(spec)
    model = Rssm(recipe, features, latent=(len(spec.views), *spec.latent))
    return RssmWorld(
        spec, tokenizer=None, model=model, actuation=actuation_of(recipe.actuation, spec)
    )


def fit(fitting: Fitting) -> RssmWorld:
    """Train the network on sequences; it predicts poses itself, so there are no kinematics."""
    recipe: RssmRecipe = fitting.recipe
    world: RssmWorld = fitting.world
    windows = fitting.windows()
    if fitting.fresh:
        fit_features(world.model.features, windows, fitting.episodes)
    world.model = fit_rssm(
        world.model,
        windows,
        fitting.episodes,
        recipe.trainer,
        latent_noise=recipe.latent_noise,
        seed=fitting.seed,
        progress=fitting.report(f"{fitting.stage}: dynamics", recipe.trainer.steps),
        checkpoint=fitting.checkpoint,
    ).model
    return world


# Half precision: in a recurrent state, the rounding of one-byte weights adds up over the frames.
FAMILY = Family(recipe=RssmRecipe, new=new, fit=fit, compress=False)
