"""Train the judge of a world model on what each fold imagines without having seen it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Bool, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.data.weighted import Weighted
from worldeval.errors import UserError
from worldeval.judge.examples import Examples, gathered, replayed
from worldeval.judge.fit import FittedJudge, fit_judge
from worldeval.judge.learned import save_judge
from worldeval.judge.recipe import JudgeRecipe
from worldeval.judge.tasks import judged_tasks
from worldeval.training.optimise import Report
from worldeval.world.load import load_world, read_card, tokenizer_hash, world_hash
from worldeval.world.training.prepare import Prepared, prepare

COLLECTED = "collected"  # family name of held-out collected episodes


def learn_judge(
    recipe: JudgeRecipe,
    world: Path,
    data: Path | Sequence[Weighted],
    weak: Sequence[Path | Weighted],
    out: Path,
    *,
    seed: int,
    world_seed: int,
    report: Report,
) -> FittedJudge:
    """Train and save a judge for the world model in `world`.

    It learns from roll-outs of weak policies (each imagined by the fold that was not trained on it)
    and from collected episodes that no model was trained on.
    """
    world_recipe = read_card(world)["recipe"]
    prepared = prepare(world_recipe, data, weak, world, seed=world_seed, report=report)
    if not len(prepared.weak):
        raise UserError(
            "A judge learns from policy roll-outs with known outcomes, but none were given. Pass "
            "--weak DATASET. If you have none, train the world with --set own_rollouts=0.5, which "
            "uses labelled episodes of the dataset instead."
        )
    horizon = judged_frames(recipe, prepared.episodes, prepared.weak)
    recipe = replace(recipe, horizon=horizon)
    spec = prepared.spec
    tasks = judged_tasks(
        recipe,
        spec,
        task=prepared.episodes.task,
        instructions=prepared.episodes.instructions,
        episodes=np.concatenate([prepared.held, prepared.weak]),
    )
    prepared = replace(prepared, episodes=replace(prepared.episodes, task=tasks.index))
    examples, invented = imagined_examples(
        prepared, world, folds=world_recipe.folds, horizon=horizon, seed=seed
    )
    fitted = fit_judge(
        recipe,
        examples,
        tasks=len(tasks.names),
        words=tasks.words,
        seed=seed,
        report=report,
        place=spec.place,
        angles=spec.turned_pose.first,
        metres=spec.metres,
    )
    save_judge(
        out,
        fitted,
        recipe,
        spec,
        world=world_hash(world),
        uncalibrated=invented,
        tasks=tasks,
        tokenizer=tokenizer_hash(world),
    )
    return fitted


def judged_frames(recipe: JudgeRecipe, data: LatentEpisodes, episodes: Int[Array, " e"]) -> int:
    """Number of world frames to judge: the recipe's, or that of the longest roll-out.

    Raises:
        UserError: roll-outs succeed after the recipe's horizon and would be labelled as failures.
    """
    longest = int(data.length[episodes].max()) - 1
    if recipe.horizon is None:
        return longest
    late = []
    for index in episodes:
        begin = data.begin[index]
        own = data.flags[begin : begin + data.length[index]] if data.flags is not None else []
        reached = np.flatnonzero(own)
        if len(reached) and reached[0] > recipe.horizon:
            late.append(int(reached[0]))
    if late:
        raise UserError(
            f"{len(late)} of {len(episodes)} roll-outs first succeed after frame {recipe.horizon}, "
            f"the judge's horizon (the last at frame {max(late)}), so they would be labelled as "
            f"failures. Omit horizon in the recipe, or --set horizon={longest}."
        )
    return recipe.horizon


def imagined_examples(
    prepared: Prepared, world: Path, *, folds: int, horizon: int, seed: int
) -> tuple[Examples, bool]:
    """Imagine every labelled episode with a fold's model that has not seen it.

    If none of them failed, each is imagined again with another episode's actions, and the outcome
    counts as a failure; the second return value says whether this happened.

    Raises:
        UserError: no roll-out has a success label, or none succeeded.
    """
    data = prepared.episodes
    assert data.labelled is not None and data.drivers is not None
    if data.flags is None or not data.labelled[prepared.weak].any():
        raise UserError(
            "None of the roll-outs has a success label, but a judge learns from success labels. "
            "Give labelled roll-outs (worldeval data inspect shows which are)."
        )
    family = families(np.array(data.drivers, dtype=object))
    if len(set(family[prepared.weak])) == 1 and data.ids is not None:
        family = np.array(data.ids, dtype=object)  # one driver: hold out single episodes
    family[: len(family) - len(prepared.weak)] = COLLECTED
    fold_of_weak = prepared.fold_of_weak(folds)
    rng = np.random.default_rng([seed, 1])
    parts, invented = [], []
    for fold in range(folds):
        model = load_world(world / f"fold-{fold}")
        unseen = prepared.weak[fold_of_weak == fold]
        # No fold has seen the held-out collected episodes; each fold imagines a share of them.
        held = prepared.held[np.arange(len(prepared.held)) % folds == fold]
        chosen = _labelled(np.concatenate([held, unseen]), data.labelled)
        replay = partial(
            replayed,
            model,
            data,
            chosen,
            flags=data.flags,
            family=family,
            horizon=horizon,
            timed=data.timed,
        )
        parts.append(replay())
        if len(chosen) > 1:
            other = np.roll(chosen, int(rng.integers(1, len(chosen))))
            invented.append(partial(replay, shuffled=other))
    every = gathered(*parts)
    if not every.success.any():
        raise UserError(
            f"None of the {len(every)} labelled episodes succeeds within {horizon} frames, so a "
            "judge cannot learn what success is. Give roll-outs or recordings that succeed."
        )
    if every.success.all():
        return gathered(every, *(make() for make in invented)), True
    return every, False


def _labelled(episodes: Int[Array, " k"], known: Bool[Array, " e"]) -> Int[Array, " n"]:
    return episodes[known[episodes]]


def families(source: Array) -> Array:
    """The training run of a roll-out: `weak-few/step-150>weak-near/step-900` gives `weak-few`."""
    return np.array([str(name).split("/")[0] for name in source], dtype=object)
