"""One optimisation loop for every network here: accelerate, AdamW, warm-up and cosine, EMA."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from worldeval.device import cpu_has_bf16
from worldeval.world.recipe import TrainerRecipe

Progress = Callable[[int, float], None]  # step, smoothed loss
LossOf = Callable[[Any, int], Tensor]  # (model, step) -> scalar loss


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What an optimisation leaves: the averaged weights and the smoothed loss at its end."""

    model: Any
    loss: float


def optimise(
    model: nn.Module,
    loss_of: LossOf,
    recipe: TrainerRecipe,
    *,
    progress: Progress | None = None,
) -> Fitted:
    """Minimise `loss_of(model, step)` for `recipe.steps` steps; returns the EMA of the weights.

    The model is moved to accelerate's device and trained in place; the result is a copy on the CPU.
    """
    pays = torch.cuda.is_available() or cpu_has_bf16()
    engine = Accelerator(mixed_precision="bf16" if pays else "no")
    optimiser = torch.optim.AdamW(
        _groups(model, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=recipe.learning_rate,
        total_steps=recipe.steps + 1,
        pct_start=recipe.warmup,
        cycle_momentum=False,
        div_factor=20,
        final_div_factor=50,
    )
    prepared, optimiser = engine.prepare(model, optimiser)
    average = AveragedModel(engine.unwrap_model(prepared), multi_avg_fn=warmed_ema(recipe.ema))
    smooth = None
    prepared.train()
    for step in range(recipe.steps):
        with engine.autocast():
            loss = loss_of(prepared, step)
        engine.backward(loss)
        engine.clip_grad_norm_(prepared.parameters(), recipe.grad_clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        average.update_parameters(engine.unwrap_model(prepared))
        if step % 20 == 0:  # reading the loss waits for the device
            now = float(loss.detach())
            smooth = now if smooth is None else 0.9 * smooth + 0.1 * now
            if progress:
                progress(step, smooth)
    fitted = deepcopy(average.module).cpu().eval()
    return Fitted(model=fitted, loss=float(smooth or 0.0))


def warmed_ema(decay: float) -> Callable[[Any, Any, Any], None]:
    """An exponential average that forgets the untrained weights: decay min(d, (1 + n) / (10 + n)).

    A fixed decay of .999 keeps a fifth of the first weights over 1,500 steps.
    """

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Any) -> None:
        n = int(count)
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            averaged, current, 1 - min(decay, (1 + n) / (10 + n))
        )

    return update


def _groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay on matrices only: on gains and biases it pulls towards a wrong scale."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    rest = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
