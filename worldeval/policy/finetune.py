"""Continue training from a checkpoint, with its own loss, on old and new demonstrations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from worldeval.axes import Array, Float
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.policy.batches import batches
from worldeval.policy.checkpoint import LearnedPolicy, PolicyCard, load, save
from worldeval.policy.demos import Demos, choose, gather
from worldeval.policy.network import PolicyNetwork
from worldeval.policy.recipe import PolicyTrainerRecipe
from worldeval.policy.train import for_policy, imitate
from worldeval.policy.validation import action_error, validation_demos


@dataclass(frozen=True, kw_only=True)
class BatchShare:
    """Samples that make up a given share of every batch."""

    demos: Demos
    share: float
    weight: Float[Array, " n"] | None = None  # relative weights of its samples; None: equal


@dataclass(frozen=True, kw_only=True)
class Finetuned:
    """The trained network, its recent mean loss and the number of steps."""

    network: PolicyNetwork
    loss: float
    steps: int


def original_demos(policy: LearnedPolicy, recorded: RecordedEpisodes, *, seed: int = 0) -> Demos:
    """Draw the demonstrations that a checkpoint was trained on again.

    `recorded` and `seed` are those of its training run.

    Raises:
        UserError: the number of episodes differs from the checkpoint's card.
    """
    recorded, recipe = for_policy(recorded, policy.recipe)
    card = policy.card
    chosen = choose(recorded, recipe, np.random.default_rng([seed, card.seed]))
    demos = gather(
        recorded, chosen, recipe.views, chunk=recipe.chunk, after_success=recipe.after_success
    )
    if dict(demos.episodes) != dict(card.demos):
        raise UserError(
            f"{policy.spec.name} was trained on {dict(card.demos)} episodes, but this dataset "
            f"gives {dict(demos.episodes)}. Pass the --data that it was trained on."
        )
    return demos


def together(parts: Sequence[BatchShare]) -> tuple[Demos, Float[Array, " n"]]:
    """Join parts into one set of samples, weighted to give each part its share of the batches.

    Parts without samples or share are left out. Raises UserError if nothing is left.
    """
    kept = [part for part in parts if len(part.demos) and part.share > 0]
    if not kept:
        raise UserError(
            "There is nothing to train on: no demonstrations and no imagined successes."
        )
    first = kept[0].demos
    weights = []
    for part in kept:
        own = np.ones(len(part.demos)) if part.weight is None else np.asarray(part.weight, float)
        weights.append(part.share * own / own.sum())
    episodes: dict[str, int] = {}
    for part in kept:
        for task, count in part.demos.episodes.items():
            episodes[task] = episodes.get(task, 0) + count
    arrays = {
        name: np.concatenate([getattr(part.demos, name) for part in kept])
        for name in ("frames", "pose", "task", "actions", "before", "after")
    }
    demos = replace(first, **arrays, episodes=episodes)
    return demos, np.concatenate(weights)


def finetune(
    policy: LearnedPolicy,
    parts: Sequence[BatchShare],
    trainer: PolicyTrainerRecipe,
    rng: np.random.Generator,
) -> Finetuned:
    """Continue training a copy of a policy; its normalisers stay, so actions keep their scale."""
    demos, weight = together(parts)
    augment, sight = policy.recipe.augment, policy.recipe.sight
    stream = batches(demos, augment, trainer.batch, rng, weight=weight, sight=sight)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    tuned = imitate(policy.network, stream, trainer, generator)
    return Finetuned(network=tuned.model, loss=tuned.loss, steps=trainer.steps)


def keep(
    folder: Path,
    policy: LearnedPolicy,
    network: PolicyNetwork,
    *,
    lineage: str,
    step: int,
    note: str,
    loss: float,
    seconds: float,
    recorded: RecordedEpisodes | None = None,
) -> LearnedPolicy:
    """Write a checkpoint derived from another one, and return it as stored.

    Its action error on held-out demonstrations is measured if `recorded` is given.
    """
    card = replace(
        policy.card,
        lineage=lineage,
        step=step,
        note=note,
        train_loss=round(loss, 5),
        seconds=round(seconds, 1),
    )
    if recorded is not None:
        card = _validated(card, LearnedPolicy(network, policy.recipe, policy.sizes, card), recorded)
    save(folder, network, policy.recipe, policy.sizes, card)
    return load(folder)


def _validated(card: PolicyCard, policy: LearnedPolicy, recorded: RecordedEpisodes) -> PolicyCard:
    held_out = validation_demos(
        recorded, policy.recipe.validation_per_task, policy.recipe.validation_sources
    )
    error = action_error(policy, held_out)
    return replace(card, validation_mse=error.mean, validation_mse_tasks=error.tasks)
