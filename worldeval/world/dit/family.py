"""Register `dit` as a family: kinematics for the pose, the flow transformer for the latents."""

from dataclasses import replace

from worldeval.errors import UserError
from worldeval.world.dit.fit import fit_dit
from worldeval.world.dit.network import DitNetwork
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.dit.world import DitWorld
from worldeval.world.families import Family, Fitting, gentler
from worldeval.world.features import features_of
from worldeval.world.hand.camera import projections
from worldeval.world.hand.commands import actuation_of
from worldeval.world.hand.fit import fit_features
from worldeval.world.hand.kinematics import new_kinematics
from worldeval.world.hand.maps import hands_of
from worldeval.world.protocol import WorldSpec


def new(spec: WorldSpec, recipe: DitRecipe) -> DitWorld:
    """Build a world with fresh weights."""
    return DitWorld(
        spec,
        tokenizer=None,
        kinematics=new_kinematics(recipe.kinematics, spec),
        dynamics=new_network(spec, recipe),
        actuation=actuation_of(recipe.actuation, spec),
    )


def new_network(spec: WorldSpec, recipe: DitRecipe) -> DitNetwork:
    """Build only the transformer, with fresh weights.

    Raises:
        UserError: the recipe has cameras for these views, but the poses have no x, y and z of a
            hand in a unit of length, so that no camera can show where it is.
    """
    height, breadth = spec.size
    cameras = projections(
        recipe.cameras, tasks=spec.tasks, views=spec.views, aspect=breadth / height
    )
    hands = hands_of(spec)
    shown = bool(hands) if spec.pose_space else spec.metres and len(spec.place) == 3
    if not shown and cameras.any():
        place = f"{len(spec.place)} numbers"
        unit = f" in {spec.place_unit}" if spec.place_unit else ""
        raise UserError(
            f"The recipe's cameras show x, y and z of hands (m), but the dataset gives the "
            f"robot's position as {place}{unit}. State in its map which columns are positions and "
            "their unit, or train without cameras: --set cameras={}."
        )
    features = features_of(spec)
    latent = (len(spec.views), *spec.latent)
    return DitNetwork(recipe, features, latent=latent, cameras=cameras, hands=hands)


def fit(fitting: Fitting) -> DitWorld:
    """Train the kinematics, then the flow transformer."""
    recipe: DitRecipe = fitting.recipe
    world: DitWorld = fitting.world
    if fitting.fresh:
        fit_features(world.dynamics.features, fitting.windows(), fitting.episodes)
    hand = fitting.hand()
    world.kinematics = hand.kinematics
    world.dynamics = fit_dit(
        world.dynamics,
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


def adapt(recipe: DitRecipe) -> DitRecipe:
    """Shorten the recipe and lower its learning rate, with imagined histories from the start."""
    return replace(gentler(recipe), imagined=((0.0, recipe.imagined[-1][1]),))


FAMILY = Family(recipe=DitRecipe, new=new, fit=fit, adapt=adapt)
