"""`dit` as a family: see dit.py for the network, fit_flow.py for its training."""

from worldeval.world.actuation import Actuation
from worldeval.world.dit import DitDynamics
from worldeval.world.families import Family, Fitting, fresh_dynamics
from worldeval.world.features import Features
from worldeval.world.fit_flow import fit_flow
from worldeval.world.frame_world import FrameWorld
from worldeval.world.kinematics import new_kinematics
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import DitRecipe


def new(spec: WorldSpec, recipe: DitRecipe) -> FrameWorld:
    """A world with fresh weights."""
    kinematics = new_kinematics(recipe.kinematics, spec)
    features = Features(pose_dim=spec.pose_dim, action_dim=spec.action_dim, tasks=len(spec.tasks))
    return FrameWorld(
        spec,
        tokenizer=None,
        kinematics=kinematics,
        dynamics=DitDynamics(recipe, features, latent=(len(spec.views), *spec.latent)),
        actuation=Actuation(recipe.actuation),
    )


def fit(fitting: Fitting) -> None:
    """Kinematics, then the flow."""
    recipe: DitRecipe = fitting.recipe
    windows = fresh_dynamics(fitting)
    fitting.world.dynamics = fit_flow(
        fitting.world.dynamics,
        windows,
        fitting.episodes,
        recipe.trainer,
        latent_noise=recipe.latent_noise,
        pose_noise=recipe.pose_noise,
        seed=fitting.seed,
        progress=fitting.report(f"{fitting.stage}: dynamics", recipe.trainer.steps),
    ).model


FAMILY = Family(recipe=DitRecipe, new=new, fit=fit)
