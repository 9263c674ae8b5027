"""Train a world model of any family (families.py), stage by stage.

Training starts on base data. Then one model per fold continues with roll-outs of weak policies,
except its own part of them: it imagines that part without having seen it, which shows the judge
what imagination really looks like. The final model is the mean of the folds' weights (model soups,
arXiv 2203.05482): they started from the same weights, together they saw all data, and no further
training is needed.

With several processes, all of them train; the first one writes and measures while the others wait.
"""

from pathlib import Path
from typing import Any

import torch

from worldeval.training.optimise import Report
from worldeval.training.processes import this_process
from worldeval.world.families import HAND, TRAINING, Fitting, family
from worldeval.world.fidelity.replay import open_loop
from worldeval.world.load import CARD, load_world, new_world, save_world
from worldeval.world.recipe import WorldRecipe
from worldeval.world.training.prepare import Prepared
from worldeval.world.weights import mean_state
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
    """Train what is missing in `out`: the base, the folds, and their mean, the final model."""
    if not len(prepared.weak):
        _train(recipe, prepared, out, kind=kind, seed=seed, report=report, stage="base")
        return load_world(out)
    train_base(recipe, prepared, out, kind=kind, seed=seed, report=report)
    paths = [
        train_fold(recipe, prepared, out, kind=kind, fold=fold, seed=seed, report=report)
        for fold in range(recipe.folds)
    ]
    if not (out / CARD).is_file():
        folds = [load_world(path, device="cpu") for path in paths]
        world = new_world(kind, prepared.spec, recipe)
        world.tokenizer = prepared.tokenizer
        world.load_networks(mean_state([fold.networks_state() for fold in folds]))
        world.eval()
        _keep(world, recipe, prepared, out, kind=kind, seed=seed, stage="mean of the folds")
    return load_world(out)


def train_base(
    recipe: WorldRecipe, prepared: Prepared, out: Path, *, kind: str, seed: int, report: Report
) -> Path:
    """Train the model on base data alone, from which the folds and the final model continue."""
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
) -> Path:
    """Train the model of `out/fold-<fold>`, which never sees that part of the weak roll-outs."""
    folder = out / f"fold-{fold}"
    _train(
        recipe,
        prepared,
        folder,
        kind=kind,
        seed=seed + 1 + fold,
        report=report,
        stage=f"fold {fold}",
        begin_from=out / "base",
        fold=fold,
    )
    return folder


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
) -> None:
    if (folder / CARD).is_file():
        return
    episodes = prepared.training(weak=begin_from is not None, without_fold=fold, folds=recipe.folds)
    torch.manual_seed(seed)
    world = new_world(kind, prepared.spec, recipe)
    world.tokenizer = prepared.tokenizer
    own = family(kind)
    if begin_from is not None:
        recipe = own.adapt(recipe)
        world.load_networks(load_world(begin_from, device="cpu").networks_state())
    world = own.fit(
        Fitting(
            world=world,
            recipe=recipe,
            prepared=prepared,
            episodes=episodes,
            seed=seed,
            report=report,
            stage=stage,
            fresh=begin_from is None,
            folder=folder,
        )
    )
    _keep(world, recipe, prepared, folder, kind=kind, seed=seed, stage=stage)


def _keep(
    world: World,
    recipe: WorldRecipe,
    prepared: Prepared,
    folder: Path,
    *,
    kind: str,
    seed: int,
    stage: str,
) -> None:
    """Save a model and measure the fidelity of the saved files, not of the model in memory."""
    if not this_process().is_main_process:
        this_process().wait_for_everyone()
        return
    notes: dict[str, Any] = {"stage": stage, "seed": seed}
    notes["tokenizer_psnr"] = prepared.tokenizer_psnr
    if prepared.objects is not None:
        notes["objects"] = dict(prepared.objects)
    if prepared.episodes.blend is not None:
        notes["weights"] = list(prepared.episodes.blend.weights)
    save_world(folder, world, recipe, kind=kind, notes=notes)
    for unfinished in (TRAINING, HAND):
        (folder / unfinished).unlink(missing_ok=True)
    fidelity = open_loop(load_world(folder), prepared.episodes, prepared.held)
    save_world(folder, world, recipe, kind=kind, notes={**notes, "fidelity": fidelity})
    this_process().wait_for_everyone()
