"""Training the parts of a world model in turn: kinematics, then a family's dynamics.

First on base data. Then one model for each fold goes on with roll-outs of weak policies, without
its part of them: what it imagines of that part is honest, and teaches the judge what imagination
looks like. The final model is the mean of the folds' weights (model soups, arXiv 2203.05482): they
began from the same weights, together they saw everything, and no further training is needed.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from worldeval.axes import Array, Int
from worldeval.errors import UserError
from worldeval.world.dit import DitDynamics
from worldeval.world.fidelity import open_loop
from worldeval.world.fit_dynamics import fit_features, fit_kinematics, fit_unrolled
from worldeval.world.fit_flow import fit_flow
from worldeval.world.load import CARD, load_world, new_world, save_world
from worldeval.world.optimise import Fitted, Progress
from worldeval.world.prepare import Prepared, Report
from worldeval.world.recipe import LatentRecipe, WorldRecipe
from worldeval.world.windows import Windows
from worldeval.world.world import World


def train_world(
    recipe: WorldRecipe,
    prepared: Prepared,
    out: Path,
    *,
    kind: str,
    seed: int,
    report: Report,
) -> World:
    """Train what `out` lacks: the base, the folds, and their mean, which is the final model."""
    if not len(prepared.weak):
        return _train(recipe, prepared, out, kind=kind, seed=seed, report=report, stage="base")
    train_base(recipe, prepared, out, kind=kind, seed=seed, report=report)
    folds = [
        train_fold(recipe, prepared, out, kind=kind, fold=fold, seed=seed, report=report)
        for fold in range(recipe.folds)
    ]
    if (out / CARD).is_file():
        return load_world(out)
    world = new_world(kind, prepared.spec, recipe)
    world.tokenizer = prepared.tokenizer
    for name in ("kinematics", "dynamics"):
        states = [getattr(fold, name).state_dict() for fold in folds]
        getattr(world, name).load_state_dict(mean_state(states))
        getattr(world, name).eval()
    return _kept(world, recipe, prepared, out, kind=kind, seed=seed, stage="mean of the folds")


def mean_state(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of several modules' weights."""
    return {key: torch.stack([state[key] for state in states]).mean(0) for key in states[0]}


def train_base(
    recipe: WorldRecipe, prepared: Prepared, out: Path, *, kind: str, seed: int, report: Report
) -> Path:
    """The model of base data alone, that the final one and the folds go on from."""
    folder = out / "base"
    _train(recipe, prepared, folder, kind=kind, seed=seed, report=report, stage="base")
    return folder


def train_fold(
    recipe: WorldRecipe,
    prepared: Prepared,
    out: Path,
    *,
    kind: str,
    fold: int,
    seed: int,
    report: Report,
) -> World:
    """The model of `out/fold-<fold>`, which never saw that part of the weak roll-outs."""
    return _train(
        recipe,
        prepared,
        out / f"fold-{fold}",
        kind=kind,
        seed=seed + 1 + fold,
        report=report,
        stage=f"fold {fold}",
        begin_from=out / "base",
        fold=fold,
    )


def _train(
    recipe: WorldRecipe,
    prepared: Prepared,
    folder: Path,
    *,
    kind: str,
    seed: int,
    report: Report,
    stage: str,
    begin_from: Path | None = None,
    fold: int | None = None,
) -> World:
    if (folder / CARD).is_file():
        return load_world(folder)
    episodes = prepared.training(weak=begin_from is not None, without_fold=fold, folds=recipe.folds)
    torch.manual_seed(seed)
    world = new_world(kind, prepared.spec, recipe)
    world.tokenizer = prepared.tokenizer
    windows = Windows(prepared.episodes, world.actuation, torch.ones(prepared.spec.pose_dim))
    if begin_from is None:
        for part in (world.kinematics, world.dynamics):
            fit_features(part.features, windows, episodes)  # type: ignore[arg-type]
    else:
        before = load_world(begin_from)
        world.kinematics.load_state_dict(before.kinematics.state_dict())
        world.dynamics.load_state_dict(before.dynamics.state_dict())
        recipe = adapting(recipe)
    windows.pose_std = world.kinematics.features.pose_std
    world.kinematics = fit_kinematics(
        world.kinematics,
        recipe.kinematics,
        windows,
        episodes,
        latent_noise=recipe.latent_noise,
        seed=seed,
        progress=report(f"{stage}: kinematics", recipe.kinematics.trainer.steps),
    ).model
    world.dynamics = _fit_dynamics(
        world.dynamics,
        recipe,
        windows,
        episodes,
        seed=seed,
        progress=report(f"{stage}: dynamics", recipe.trainer.steps),
    ).model
    return _kept(world, recipe, prepared, folder, kind=kind, seed=seed, stage=stage)


def _kept(
    world: World,
    recipe: WorldRecipe,
    prepared: Prepared,
    folder: Path,
    *,
    kind: str,
    seed: int,
    stage: str,
) -> World:
    """Save a model with its fidelity; returned as stored: what is measured is what is shipped."""
    notes = {"stage": stage, "seed": seed, "tokenizer_psnr": prepared.tokenizer_psnr}
    save_world(folder, world, recipe, kind=kind, notes=notes)
    stored = load_world(folder)
    fidelity = open_loop(stored, prepared.episodes, prepared.held)
    save_world(folder, world, recipe, kind=kind, notes={**notes, "fidelity": fidelity})
    return stored


def adapting(recipe: WorldRecipe) -> WorldRecipe:
    """The recipe with which training goes on: shorter and gentler, at the full unroll."""
    share, slower = recipe.adapt_share, recipe.adapt_learning_rate
    shorter = replace(
        recipe.trainer,
        steps=round(share * recipe.trainer.steps),
        learning_rate=slower * recipe.trainer.learning_rate,
    )
    hands = replace(
        recipe.kinematics.trainer,
        steps=round(share * recipe.kinematics.trainer.steps),
        learning_rate=slower * recipe.kinematics.trainer.learning_rate,
    )
    changed = replace(recipe, trainer=shorter, kinematics=replace(recipe.kinematics, trainer=hands))
    if isinstance(changed, LatentRecipe):
        return replace(changed, unroll=((0.0, changed.unroll[-1][1]),))
    return changed


def _fit_dynamics(
    model: nn.Module,
    recipe: WorldRecipe,
    windows: Windows,
    episodes: Int[Array, " e"],
    *,
    seed: int,
    progress: Progress,
) -> Fitted:
    noise = {"latent_noise": recipe.latent_noise, "pose_noise": recipe.pose_noise}
    if isinstance(recipe, LatentRecipe):
        return fit_unrolled(
            model,
            windows,
            episodes,
            recipe.trainer,
            unroll=recipe.unroll,
            seed=seed,
            progress=progress,
            **noise,
        )
    if isinstance(model, DitDynamics):
        return fit_flow(
            model, windows, episodes, recipe.trainer, seed=seed, progress=progress, **noise
        )
    raise UserError(f"No training is known for {type(recipe).__name__}.")
