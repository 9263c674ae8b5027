"""Register `latent` as a family: network.py and spatial.py hold the dynamics, fit.py
their training."""

from dataclasses import replace

from worldeval.world.families import Family, Fitting, gentler
from worldeval.world.features import features_of
from worldeval.world.hand.camera import projections
from worldeval.world.hand.commands import actuation_of
from worldeval.world.hand.fit import fit_features
from worldeval.world.hand.kinematics import new_kinematics
from worldeval.world.hand.maps import HandMaps, hands_of
from worldeval.world.latent.fit import fit_unrolled
from worldeval.world.latent.network import LatentDynamics
from worldeval.world.latent.recipe import LatentRecipe
from worldeval.world.latent.spatial import SpatialDynamics
from worldeval.world.latent.world import FrameWorld
from worldeval.world.protocol import WorldSpec


def new(spec: WorldSpec, recipe: LatentRecipe) -> FrameWorld:
    """Build a world with fresh weights."""
    kinematics = new_kinematics(recipe.kinematics, spec)
    return FrameWorld(
        spec,
        tokenizer=None,
        kinematics=kinematics,
        dynamics=_dynamics(spec, recipe),
        actuation=actuation_of(recipe.actuation, spec),
    )


def _dynamics(spec: WorldSpec, recipe: LatentRecipe) -> LatentDynamics | SpatialDynamics:
    features, latent = features_of(spec), (len(spec.views), *spec.latent)
    if recipe.network == "mlp":
        return LatentDynamics(recipe, features, latent=latent)
    hands = hands_of(spec) if recipe.cameras else ()
    if not hands:
        return SpatialDynamics(recipe, features, latent=latent)
    aspect = spec.size[1] / spec.size[0]
    matrix = projections(recipe.cameras, tasks=spec.tasks, views=spec.views, aspect=aspect)
    maps = HandMaps(matrix, grid=spec.latent[1:], hands=hands)
    return SpatialDynamics(recipe, features, latent=latent, hands=maps)


def fit(fitting: Fitting) -> FrameWorld:
    """Train the kinematics, then the dynamics on its own predictions."""
    recipe: LatentRecipe = fitting.recipe
    world: FrameWorld = fitting.world
    if fitting.fresh:
        fit_features(world.dynamics.features, fitting.windows(), fitting.episodes)
    hand = fitting.hand()
    world.kinematics = hand.kinematics
    world.dynamics = fit_unrolled(
        world.dynamics,
        hand.windows,
        fitting.episodes,
        recipe.trainer,
        unroll=recipe.unroll,
        latent_noise=recipe.latent_noise,
        pose_noise=recipe.pose_noise,
        own=recipe.own,
        saving=(fitting.checkpoint, recipe.save_every),
        seed=fitting.seed,
        progress=fitting.report(f"{fitting.stage}: dynamics", recipe.trainer.steps),
    ).model
    return world


def adapt(recipe: LatentRecipe) -> LatentRecipe:
    """Shorten the recipe and lower its learning rate, at the full unroll from the first step."""
    return replace(gentler(recipe), unroll=((0.0, recipe.unroll[-1][1]),))


FAMILY = Family(recipe=LatentRecipe, new=new, fit=fit, adapt=adapt)
