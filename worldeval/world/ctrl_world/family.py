"""Register `ctrl_world` as a family: building, initialising from known weights, training."""

from pathlib import Path

import numpy as np

from worldeval.world.ctrl_world.denoiser import VideoDenoiser
from worldeval.world.ctrl_world.distil import distil
from worldeval.world.ctrl_world.fit import fit_denoiser, fit_statistics
from worldeval.world.ctrl_world.recipe import CtrlWorldRecipe
from worldeval.world.ctrl_world.text import embed_tasks
from worldeval.world.ctrl_world.weights import load_checkpoint, load_pose_stats, load_svd
from worldeval.world.ctrl_world.world import CtrlWorld, said
from worldeval.world.families import Family, Fitting
from worldeval.world.hand.commands import actuation_of
from worldeval.world.hand.kinematics import new_kinematics
from worldeval.world.protocol import WorldSpec
from worldeval.world.training.windows import Windows


def new(spec: WorldSpec, recipe: CtrlWorldRecipe) -> CtrlWorld:
    """Build a world with fresh weights."""
    denoiser = VideoDenoiser(
        recipe,
        latent=(len(spec.views), *spec.latent),
        pose_dim=spec.pose_dim,
        tasks=len(said(spec)),
    )
    return CtrlWorld(
        spec,
        tokenizer=None,
        kinematics=new_kinematics(recipe.kinematics, spec),
        denoiser=denoiser,
        actuation=actuation_of(recipe.actuation, spec),
    )


def fit(fitting: Fitting) -> CtrlWorld:
    """Train the kinematics, then the denoiser, from known weights if the recipe names them.

    `trainer.steps: 0` keeps the weights as they were loaded.
    """
    world: CtrlWorld = fitting.world
    recipe: CtrlWorldRecipe = fitting.recipe
    world.denoiser.recipe = recipe
    hand = fitting.hand()
    world.kinematics = hand.kinematics
    if fitting.fresh:
        begin(world.denoiser, fitting)
    given = {"windows": by_words(world, hand.windows), "episodes": fitting.episodes}
    if recipe.trainer.steps:
        world.denoiser = fit_denoiser(
            world.denoiser,
            **given,
            seed=fitting.seed,
            checkpoint=fitting.checkpoint,
            progress=fitting.report(f"{fitting.stage}: denoiser", recipe.trainer.steps),
        ).model
    if recipe.distil.levels:
        path = fitting.checkpoint.with_name("distilling.pt")
        world.denoiser = distil(
            world.denoiser,
            **given,
            seed=fitting.seed,
            checkpoint=path,
            progress=fitting.report(f"{fitting.stage}: distillation", recipe.distil.steps),
        ).model
        path.unlink(missing_ok=True)
    return world


def begin(denoiser: VideoDenoiser, fitting: Fitting) -> None:
    """Prepare the first training step: known weights, statistics, and instruction embeddings."""
    recipe = denoiser.recipe
    if recipe.svd:
        load_svd(denoiser.network, Path(recipe.svd))
    if recipe.checkpoint:
        load_checkpoint(denoiser.network, Path(recipe.checkpoint))
    fit_statistics(denoiser, fitting.prepared.episodes, fitting.episodes, seed=fitting.seed)
    if recipe.pose_stats:
        denoiser.scale.put(*load_pose_stats(Path(recipe.pose_stats)))
    if recipe.text:
        tasks = said(fitting.prepared.spec)
        denoiser.text.copy_(embed_tasks(Path(recipe.text), tasks, width=recipe.unet.token))


def by_words(world: CtrlWorld, windows: Windows) -> Windows:
    """Return windows whose task is the instruction's row in `denoiser.text`."""
    if not world.spec.instructions:
        return windows
    row = {words: index for index, words in enumerate(said(world.spec))}
    told = world.tasks_of(windows.data, np.arange(len(windows.data)))
    return windows.with_tasks(np.array([row[words] for words in told]))


FAMILY = Family(recipe=CtrlWorldRecipe, new=new, fit=fit, compress=False)
