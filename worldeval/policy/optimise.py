"""The optimisation of every policy: AdamW with warm-up and a cosine, and an average of weights."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel

from worldeval.device import autocast
from worldeval.policy.batches import Batch
from worldeval.policy.network import PolicyNetwork
from worldeval.policy.recipe import TrainerRecipe


@dataclass(frozen=True, kw_only=True)
class Optimised:
    """Where training stands after a step."""

    step: int
    loss: float  # recent mean
    network: PolicyNetwork  # what is kept: the average of weights where there is one


def optimise(
    network: PolicyNetwork,
    stream: Iterator[Batch],
    trainer: TrainerRecipe,
    generator: torch.Generator,
) -> Iterator[Optimised]:
    """Minimise the policy's own loss over `trainer.steps` batches, in place."""
    optimiser = torch.optim.AdamW(
        [weight for weight in network.parameters() if weight.requires_grad],
        lr=trainer.learning_rate,
        weight_decay=trainer.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: rate(step, trainer.steps, trainer.warmup)
    )
    average = AveragedModel(network, multi_avg_fn=warmed(trainer.ema)) if trainer.ema else None
    kept = network if average is None else cast(PolicyNetwork, average.module)
    recent = 0.0
    for step, batch in enumerate(stream, start=1):
        with autocast(torch.device("cpu")):
            loss = network.loss(batch.images, batch.pose, batch.task, batch.actions, generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if average is not None:
            average.update_parameters(network)
        recent += (loss.item() - recent) / min(step, 50)
        yield Optimised(step=step, loss=recent, network=kept)
        if step == trainer.steps:
            return


def rate(step: int, steps: int, warmup: int) -> float:
    """Share of the learning rate: a linear start, then a cosine to a twentieth."""
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def warmed(decay: float) -> Callable[[Any, Any, Any], None]:
    """An exponential average of weights that forgets the first ones: min(d, (1 + n) / (10 + n))."""

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Any) -> None:
        seen = int(count)
        share = 1 - min(decay, (1 + seen) / (10 + seen))
        for old, new in zip(averaged, current, strict=True):
            old.lerp_(new.to(old.dtype), share)

    return update
