"""One optimisation loop for every network here: accelerate, AdamW, warm-up and cosine, EMA.

Under `accelerate launch` it trains on several processes, replicated (DDP) or sharded (FSDP2). A
loss then draws the batch of all processes from one generator and takes its own rows of it
(processes.py), so that any number of processes follows the same course.
"""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType
from torch import Tensor, nn

from worldeval.device import bf16_pays
from worldeval.errors import UserError
from worldeval.world.recipe import TrainerRecipe
from worldeval.world.training.average import Average
from worldeval.world.training.checkpoints import Saving, Training
from worldeval.world.training.processes import this_process, whole

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
    saving: Saving | None = None,
    accumulate: int = 1,
) -> Fitted:
    """Minimise `loss_of(model, step)` for `recipe.steps` steps; returns the EMA of the weights.

    The model is moved to accelerate's device and trained in place; the result is a copy on the CPU.
    With `saving` the whole training is kept every few steps and goes on from there, on the same
    course as if it had not been interrupted. With `accumulate` the loss is taken that often in
    every step, for the gradient of a batch that does not fit at once.
    """
    device = this_process().device
    assert device is not None  # accelerate sets it when it starts
    pays = bf16_pays(device)
    # Buffers are statistics, equal everywhere: sending them before every forward is of no use.
    replicas = DistributedDataParallelKwargs(broadcast_buffers=False)
    engine = Accelerator(mixed_precision="bf16" if pays else "no", kwargs_handlers=[replicas])
    _refuse_first_fsdp(engine)
    unsharded = deepcopy(model) if engine.is_fsdp2 else None
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
    with warnings.catch_warnings():
        # torch 2.13 renames `broadcast_buffers`; accelerate still passes it by its old name.
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        prepared, prepared_optimiser = engine.prepare(model, optimiser)
    bare = engine.unwrap_model(prepared)
    training = Training(
        model=prepared,
        optimiser=optimiser,
        schedule=schedule,
        average=Average(bare, recipe.ema),
        saving=saving,
    )
    training.go_on()
    prepared.train()
    for step in range(training.step, recipe.steps):
        loss = torch.zeros(())
        for part in range(accumulate):
            last = part == accumulate - 1
            with nullcontext() if last else engine.no_sync(prepared):
                with engine.autocast():
                    loss = loss_of(prepared, step)
                engine.backward(loss if accumulate == 1 else loss / accumulate)
        engine.clip_grad_norm_(prepared.parameters(), recipe.grad_clip)
        prepared_optimiser.step()
        prepared_optimiser.zero_grad(set_to_none=True)
        schedule.step()
        training.average.update(bare)
        training.step = step + 1
        if step % 20 == 0:  # reading the loss waits for the device
            reduced: Any = engine.reduce(loss.detach(), "mean")
            now = float(reduced)
            smooth = training.smooth
            training.smooth = now if smooth is None else 0.9 * smooth + 0.1 * now
            if progress and engine.is_main_process:
                progress(step, training.smooth)
        training.keep()
    fitted = _averaged(training.average, bare, unsharded)
    return Fitted(model=fitted.cpu().eval(), loss=float(training.smooth or 0.0))


def _averaged(average: Average, bare: nn.Module, unsharded: nn.Module | None) -> nn.Module:
    """A copy of the model with the averaged weights, whole in every process."""
    if unsharded is None:
        fitted = deepcopy(bare)
        average.copy_to(fitted)
        return fitted
    average.copy_to(bare)
    state = {name: whole(value).cpu() for name, value in bare.state_dict().items()}
    unsharded.load_state_dict(state)
    return unsharded


def _refuse_first_fsdp(engine: Accelerator) -> None:
    if engine.distributed_type == DistributedType.FSDP and not engine.is_fsdp2:
        raise UserError(
            "Sharded training needs FSDP2, and accelerate is set to FSDP1. Set `fsdp_version: 2` "
            "in its configuration, or give `accelerate launch --fsdp_version 2`."
        )


def _groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay on matrices only: on gains and biases it pulls towards a wrong scale."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    rest = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
