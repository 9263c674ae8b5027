"""Refuse, before anything is trained, recordings from which no judge could learn afterwards."""

from collections.abc import Sequence

import numpy as np

from worldeval.data.source import Head, Source
from worldeval.data.split import held_out
from worldeval.errors import UserError
from worldeval.judge.recipe import JudgeRecipe
from worldeval.judge.tasks import refuse_unnamed
from worldeval.world.protocol import ANY_TASK
from worldeval.world.recipe import WorldRecipe
from worldeval.world.sources import tasks_of
from worldeval.world.training.prepare import kept_out, set_aside


def refuse_unjudgeable(
    source: Source,
    rollouts: Sequence[Source],
    world: WorldRecipe,
    judge: JudgeRecipe,
    *,
    seed: int,
) -> None:
    """Check labels and instructions of the episodes that a judge will learn from.

    Args:
        source: the recordings; some of them are set aside if there are no `rollouts`.
        world, judge: the recipes with which both will be trained.
        seed: of the training.

    Raises:
        UserError: none of the episodes has a success label, none succeeded, or their instructions
            are too many to be known by name.
    """
    held = held_out(source, share=world.held_out, seed=seed)
    judged = [source.heads[index] for index in np.flatnonzero(held)]
    learned = _learned(source, held, rollouts, world, seed=seed)
    if all(head.success is None for head in learned):
        raise UserError(
            "None of the roll-outs has a success label, but a judge learns from success labels. "
            "Give labelled roll-outs (worldeval data inspect shows which are)."
        )
    judged += learned
    if not any(head.success for head in judged):
        raise UserError(
            f"None of the {len(judged)} episodes that the judge learns from succeeded, so it "
            "cannot learn what success is. Give roll-outs or recordings that succeed."
        )
    precomputed = all(map(source.has_latents, range(len(source))))
    if precomputed or tasks_of([source]) == (ANY_TASK,):
        refuse_unnamed([head.task for head in judged], judge)


def _learned(
    source: Source,
    held: np.ndarray,
    rollouts: Sequence[Source],
    world: WorldRecipe,
    *,
    seed: int,
) -> list[Head]:
    """The labelled episodes besides those held out, chosen as the training will choose them."""
    if not rollouts:
        return [
            head
            for part in set_aside([source], [held], world.own_rollouts, seed=seed)[2]
            for head in part.heads
        ]
    learned = []
    for number, part in enumerate(rollouts):
        gone = kept_out(part, world.kept_rollouts, seed=seed, number=number)
        learned += [head for index, head in enumerate(part.heads) if index not in gone]
    return learned
