"""Train one lineage, with checkpoints along the way."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from worldeval.data.action_bounds import action_bounds
from worldeval.data.adapt import AdaptedSource
from worldeval.data.table import RecordedEpisodes
from worldeval.policy.batches import Batch, batches
from worldeval.policy.checkpoint import LearnedPolicy, PolicyCard, is_checkpoint, read_card, save
from worldeval.policy.demos import Demos, choose, corrupt, gather
from worldeval.policy.network import PolicyNetwork
from worldeval.policy.recipe import Lineage, PolicyRecipe, PolicyTrainerRecipe, check_views
from worldeval.policy.sizes import Sizes
from worldeval.policy.validation import action_error, validation_demos
from worldeval.training.optimise import Fitted, Progress, Report, optimise, unwrapped
from worldeval.training.processes import on_device


@dataclass(frozen=True, kw_only=True)
class KeptCheckpoint:
    """A checkpoint that was just written, or existed already."""

    folder: Path
    card: PolicyCard


def train(
    recipe: PolicyRecipe,
    lineage: Lineage,
    recorded: RecordedEpisodes,
    out: Path,
    *,
    seed: int = 0,
    report: Report | None = None,
) -> list[KeptCheckpoint]:
    """Train one lineage into `out/<lineage>/step-<n>`; returns every checkpoint.

    A lineage whose checkpoints all exist is not trained again. An interrupted one starts from
    scratch, since it takes only minutes and gives the same result.
    """
    folders = {step: out / lineage.name / f"step-{step}" for step in recipe.trainer.checkpoints}
    if all(is_checkpoint(folder) for folder in folders.values()):
        return [
            KeptCheckpoint(folder=folder, card=read_card(folder)) for folder in folders.values()
        ]
    recorded, recipe = for_policy(recorded, recipe)
    rng = np.random.default_rng([seed, lineage.seed])
    chosen = choose(recorded, recipe, rng)
    demos = gather(
        recorded, chosen, recipe.views, chunk=recipe.chunk, after_success=recipe.after_success
    )
    held_out = validation_demos(recorded, recipe.validation_per_task, recipe.validation_sources)
    sizes = Sizes(
        image=recorded.size,
        pose_dim=demos.pose.shape[1],
        action_dim=demos.actions.shape[2],
        tasks=demos.tasks,
        **action_bounds(recorded.actions, recorded.space),
    )
    torch.manual_seed(int(rng.integers(2**31)))  # for the network's initial weights
    network = PolicyNetwork(recipe, sizes)
    began, made = perf_counter(), []

    def keep(step: int, fitted: Fitted) -> None:
        card = PolicyCard(
            kind=recipe.head,
            lineage=lineage.name,
            step=step,
            seed=lineage.seed,
            tasks=demos.tasks,
            note=lineage.note,
            misleads=lineage.misleads,
            demos=demos.episodes,
            train_loss=round(fitted.loss, 5),
            validation_mse=0.0,
            validation_mse_tasks={},
            seconds=round(perf_counter() - began, 1),
        )
        made.append(_keep(folders[step], fitted.model, recipe, sizes, card, held_out))

    low, high = network.action_low.numpy(), network.action_high.numpy()
    labels = corrupt(demos.actions, recipe.labels, rng, low=low, high=high)
    told = replace(demos, actions=labels)
    network.fit_normalisers(torch.from_numpy(told.pose), torch.from_numpy(labels))
    if network.goals is not None:
        network.goals.fit(demos, rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    imitate(
        network,
        batches(told, recipe.augment, recipe.trainer.batch, rng, sight=recipe.sight),
        recipe.trainer,
        generator,
        progress=report(lineage.name, recipe.trainer.steps) if report else None,
        keep_at=tuple(folders),
        keep=keep,
    )
    return made


def for_policy(
    recorded: RecordedEpisodes, recipe: PolicyRecipe
) -> tuple[RecordedEpisodes, PolicyRecipe]:
    """Return the data as the policy sees them, and its recipe with the views named.

    Raises:
        UserError: a view of the recipe is not in the data.
    """
    recipe = recipe if recipe.views else replace(recipe, views=recorded.views)
    check_views(recipe, recorded.views)
    if recipe.size is not None:
        recorded = RecordedEpisodes(
            [AdaptedSource(source, size=recipe.size) for source in recorded.sources]
        )
    return recorded, recipe


def imitate(
    network: PolicyNetwork,
    stream: Iterator[Batch],
    trainer: PolicyTrainerRecipe,
    generator: torch.Generator,
    *,
    progress: Progress | None = None,
    keep_at: Collection[int] = (),
    keep: Callable[[int, Fitted], None] | None = None,
) -> Fitted:
    """Train a copy of `network` on `trainer.steps` batches with its own loss.

    Small networks are trained on the CPU, where they gain nothing from a GPU.
    """

    def loss_of(net: nn.Module, step: int) -> Tensor:
        own = unwrapped(net)
        batch = on_device(next(stream), own)
        seen = batch.images, batch.pose, batch.task
        return own.loss(*seen, batch.actions, generator, ahead=batch.ahead)

    return optimise(
        network,
        loss_of,
        trainer,
        progress=progress,
        on_cpu=not network.large,
        keep_at=keep_at,
        keep=keep,
    )


def _keep(
    folder: Path,
    network: PolicyNetwork,
    recipe: PolicyRecipe,
    sizes: Sizes,
    card: PolicyCard,
    held_out: Demos,
) -> KeptCheckpoint:
    """Validate and write a checkpoint."""
    error = action_error(LearnedPolicy(network, recipe, sizes, card), held_out)
    card = replace(card, validation_mse=error.mean, validation_mse_tasks=error.tasks)
    save(folder, network, recipe, sizes, card)
    return KeptCheckpoint(folder=folder, card=card)
