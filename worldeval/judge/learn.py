"""Training the judge of a world model, on what every fold imagines and never saw."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Bool, Int
from worldeval.data.weighted import Weighted
from worldeval.errors import UserError
from worldeval.judge.examples import Examples, gathered, replayed
from worldeval.judge.fit import FittedJudge, fit_judge
from worldeval.judge.judge import save_judge
from worldeval.judge.recipe import JudgeRecipe
from worldeval.training.optimise import Report
from worldeval.world.load import load_world, read_card, world_hash
from worldeval.world.training.prepare import Prepared, prepare

COLLECTED = "collected"  # the family of held-out collected episodes


def learn_judge(
    recipe: JudgeRecipe,
    world: Path,
    data: Path | Sequence[Weighted],
    weak: Sequence[Path],
    out: Path,
    *,
    seed: int,
    world_seed: int,
    report: Report,
) -> FittedJudge:
    """Train and save a judge for the world model in `world`.

    It learns from roll-outs of weak policies (each imagined by the fold that was not fitted to it)
    and from collected episodes that no model was fitted to.
    """
    if not weak:
        raise UserError("A judge learns from roll-outs of policies; give --weak DATASET.")
    world_recipe = read_card(world)["recipe"]
    prepared = prepare(world_recipe, data, weak, world, seed=world_seed, report=report)
    examples = imagined_examples(prepared, world, folds=world_recipe.folds, horizon=recipe.horizon)
    tasks = len(prepared.spec.tasks)
    fitted = fit_judge(recipe, examples, tasks=tasks, seed=seed, report=report)
    save_judge(out, fitted, recipe, prepared.spec, world=world_hash(world))
    return fitted


def imagined_examples(prepared: Prepared, world: Path, *, folds: int, horizon: int) -> Examples:
    """Every labelled episode that some fold's model can imagine without having seen it.

    Raises:
        UserError: nobody knows of any roll-out whether it succeeded.
    """
    data = prepared.episodes
    assert data.labelled is not None and data.drivers is not None
    if data.flags is None or not data.labelled[prepared.weak].any():
        raise UserError(
            "None of the --weak roll-outs says whether it succeeded, and a judge learns from "
            "success labels. Give labelled roll-outs (worldeval data inspect shows which are)."
        )
    family = families(np.array(data.drivers, dtype=object))
    family[: len(family) - len(prepared.weak)] = COLLECTED
    fold_of_weak = prepared.fold_of_weak(folds)
    parts = []
    for fold in range(folds):
        model = load_world(world / f"fold-{fold}")
        unseen = prepared.weak[fold_of_weak == fold]
        # Held-out collected episodes are unseen by every fold; each imagines its share of them.
        held = prepared.held[np.arange(len(prepared.held)) % folds == fold]
        parts.append(
            replayed(
                model,
                prepared.episodes,
                _labelled(np.concatenate([held, unseen]), data.labelled),
                flags=data.flags,
                family=family,
                horizon=horizon,
            )
        )
    return gathered(*parts)


def _labelled(episodes: Int[Array, " k"], known: Bool[Array, " e"]) -> Int[Array, " n"]:
    return episodes[known[episodes]]


def families(source: Array) -> Array:
    """The training run behind a roll-out: `weak-few/step-150>weak-near/step-900` is `weak-few`."""
    return np.array([str(name).split("/")[0] for name in source], dtype=object)
