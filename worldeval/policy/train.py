"""Training one lineage, with checkpoints along the way."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from worldeval.data.table import RecordedEpisodes
from worldeval.policy.batches import batches
from worldeval.policy.checkpoint import LearnedPolicy, PolicyCard, is_checkpoint, read_card, save
from worldeval.policy.demos import Demos, choose, corrupt, gather
from worldeval.policy.network import PolicyNetwork, Sizes
from worldeval.policy.optimise import Optimised, optimise
from worldeval.policy.recipe import Lineage, PolicyRecipe, check_views
from worldeval.policy.validation import action_error, validation_demos


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A checkpoint just written, or found already there."""

    folder: Path
    card: PolicyCard


def train(
    recipe: PolicyRecipe, lineage: Lineage, recorded: RecordedEpisodes, out: Path, *, seed: int = 0
) -> Iterator[Progress]:
    """Train one lineage into `out/<lineage>/step-<n>`, yielding every checkpoint.

    A lineage whose checkpoints all exist is not trained again; one that was interrupted starts
    over, since it takes minutes and comes out the same.
    """
    folders = {step: out / lineage.name / f"step-{step}" for step in recipe.trainer.checkpoints}
    if all(is_checkpoint(folder) for folder in folders.values()):
        for folder in folders.values():
            yield Progress(folder=folder, card=read_card(folder))
        return
    check_views(recipe, recorded.views)
    rng = np.random.default_rng([seed, lineage.seed])
    chosen = choose(recorded, recipe, rng)
    demos = gather(
        recorded, chosen, recipe.views, chunk=recipe.chunk, after_success=recipe.after_success
    )
    held_out = validation_demos(recorded, recipe.validation_per_task)
    sizes = Sizes(
        image=recorded.size,
        pose_dim=demos.pose.shape[1],
        action_dim=demos.actions.shape[2],
        tasks=demos.tasks,
    )
    torch.manual_seed(int(rng.integers(2**31)))  # the network's first weights
    network = PolicyNetwork(recipe, sizes)
    began = perf_counter()
    for now in _optimise(network, recipe, demos, rng):
        if now.step in folders:
            card = PolicyCard(
                kind=recipe.head,
                lineage=lineage.name,
                step=now.step,
                seed=lineage.seed,
                tasks=demos.tasks,
                note=lineage.note,
                misleads=lineage.misleads,
                demos=demos.episodes,
                train_loss=round(now.loss, 5),
                validation_mse=0.0,
                validation_mse_tasks={},
                seconds=round(perf_counter() - began, 1),
            )
            yield _keep(folders[now.step], now.network, recipe, sizes, card, held_out)
            network.train()


def _optimise(
    network: PolicyNetwork, recipe: PolicyRecipe, demos: Demos, rng: np.random.Generator
) -> Iterator[Optimised]:
    """Training on the demonstrations as the policy is told them."""
    labels = corrupt(demos.actions, recipe.labels, rng)
    told = replace(demos, actions=labels)
    network.fit_normalisers(torch.from_numpy(told.pose), torch.from_numpy(labels))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    stream = batches(told, recipe.augment, recipe.trainer.batch, rng)
    return optimise(network, stream, recipe.trainer, generator)


def _keep(
    folder: Path,
    network: PolicyNetwork,
    recipe: PolicyRecipe,
    sizes: Sizes,
    card: PolicyCard,
    held_out: Demos,
) -> Progress:
    """Validate and write a checkpoint."""
    error = action_error(LearnedPolicy(network, recipe, sizes, card), held_out)
    card = replace(card, validation_mse=error.mean, validation_mse_tasks=error.tasks)
    save(folder, network, recipe, sizes, card)
    return Progress(folder=folder, card=card)
