"""The optimisation loop of every network here: accelerate, AdamW, warm-up and cosine, EMA.

Under `accelerate launch` it trains on several processes, replicated (DDP) or sharded (FSDP2). The
loss then draws the batch of all processes from one generator and uses its own rows of it
(processes.py), so that training follows the same course with any number of processes.
"""

import math
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType
from torch import Tensor, nn

from worldeval.device import bf16_pays, compiled, compiles, made_fast
from worldeval.errors import UserError
from worldeval.training.average import Average, put, trained
from worldeval.training.checkpoints import Saving, Training
from worldeval.training.processes import this_process, whole
from worldeval.training.recipe import TrainerRecipe

Progress = Callable[[int, float], None]  # step, recent mean of the loss
Report = Callable[[str, int], Progress]  # a stage and its number of steps -> its progress
LossOf = Callable[[Any, int], Tensor]  # (model, step) -> scalar loss
Rehearse = Callable[[nn.Module, LossOf, TrainerRecipe], None]
_rehearsals: list[Rehearse] = []
RECENT = 50  # steps in the recent mean of the loss


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The result of an optimisation: the averaged weights and the recent mean of the loss."""

    model: Any
    loss: float


@contextmanager
def rehearsed(by: Rehearse) -> Iterator[None]:
    """Inside, `optimise` trains nothing: `by` receives its model, loss and recipe instead.

    To learn what a step costs, such as on the `meta` device, with the loss of the training itself.
    """
    _rehearsals.append(by)
    try:
        yield
    finally:
        _rehearsals.pop()


def optimise(
    model: nn.Module,
    loss_of: LossOf,
    recipe: TrainerRecipe,
    *,
    progress: Progress | None = None,
    saving: Saving | None = None,
    accumulate: int = 1,
    on_cpu: bool = False,
    keep_at: Collection[int] = (),
    keep: Callable[[int, Fitted], None] | None = None,
) -> Fitted:
    """Minimise `loss_of(net, step)` for `recipe.steps` steps; returns the EMA of the weights.

    `model` itself is not changed: a copy is trained on accelerate's device, is passed to `loss_of`
    (possibly wrapped, see `unwrapped`), and is returned on the CPU. `on_cpu` also trains it there:
    small networks gain nothing from a GPU. After the steps in `keep_at`, `keep` receives what would
    be returned at that point. With `saving`, the training state is saved every few steps, and an
    interrupted training resumes from there on the same course. With `accumulate`, each step sums
    that many losses, to get the gradient of a batch that does not fit at once.
    """
    if _rehearsals:
        _rehearsals[-1](model, loss_of, recipe)
        return Fitted(model=model, loss=0.0)
    device = torch.device("cpu") if on_cpu else this_process().device
    assert device is not None  # accelerate sets it when it starts
    pays = bf16_pays(device)
    # Buffers are statistics, equal in every process, so they need not be sent before each forward.
    replicas = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    engine = Accelerator(
        device_placement=not on_cpu,
        mixed_precision="bf16" if pays else "no",
        kwargs_handlers=[replicas],
    )
    _refuse_first_fsdp(engine)
    net = deepcopy(model)
    made_fast(net, device)
    optimiser = adamw(net, recipe, device)
    schedule = _schedule(optimiser, recipe)
    with warnings.catch_warnings():
        # torch 2.13 renames `broadcast_buffers`; accelerate still passes it by its old name.
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        prepared, prepared_optimiser = engine.prepare(net, optimiser)
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
    called = compiled(prepared, device) if compiles() else prepared
    recent = torch.tensor(training.smooth or 0.0, device=device)

    def fitted(template: nn.Module) -> Fitted:
        averaged = _averaged(training.average, bare, template, sharded=engine.is_fsdp2)
        return Fitted(model=averaged.cpu().eval(), loss=float(training.smooth or 0.0))

    for step in range(training.step, recipe.steps):
        total = torch.zeros((), device=device)
        for part in range(accumulate):
            last = part == accumulate - 1
            with nullcontext() if last else engine.no_sync(prepared):
                with engine.autocast():
                    loss = loss_of(called, step)
                engine.backward(loss if accumulate == 1 else loss / accumulate)
            total += loss.detach() / accumulate
        if recipe.grad_clip:
            engine.clip_grad_norm_(prepared.parameters(), recipe.grad_clip)
        prepared_optimiser.step()
        prepared_optimiser.zero_grad(set_to_none=True)
        schedule.step()
        training.average.update()
        training.step = step + 1
        recent += (total - recent) / min(step + 1, RECENT)
        if step % 20 == 0 or training.due or training.step in (*keep_at, recipe.steps):
            reduced: Any = engine.reduce(recent, "mean")  # reading it waits for the device
            training.smooth = float(reduced)
            if progress and step % 20 == 0 and engine.is_main_process:
                progress(step, training.smooth)
        training.keep()
        if keep is not None and training.step in keep_at:
            keep(training.step, fitted(deepcopy(model)))
    return fitted(deepcopy(model) if engine.is_fsdp2 else bare)


def adamw(net: nn.Module, recipe: TrainerRecipe, device: torch.device) -> torch.optim.AdamW:
    """The optimiser of every training; on a GPU, one kernel updates all weights."""
    return torch.optim.AdamW(
        _groups(net, recipe),
        lr=recipe.learning_rate,
        betas=recipe.betas,
        fused=True if device.type == "cuda" else None,
    )


def unwrapped(net: Any) -> Any:
    """Unwrap a module that was wrapped for several processes, or compiled."""
    net = getattr(net, "_orig_mod", net)
    return net.module if isinstance(net, nn.parallel.DistributedDataParallel) else net


def _averaged(average: Average, bare: nn.Module, target: nn.Module, *, sharded: bool) -> nn.Module:
    """Return `target` with the averaged weights of `bare`, complete in every process."""
    if not sharded:
        if target is not bare:
            target.load_state_dict(bare.state_dict())
        average.copy_to(target)
        return target
    running = [each.detach().clone() for each in trained(bare)]
    average.copy_to(bare)
    state = {name: whole(value).cpu() for name, value in bare.state_dict().items()}
    put(trained(bare), running)
    target.load_state_dict(state)
    return target


def _refuse_first_fsdp(engine: Accelerator) -> None:
    if engine.distributed_type == DistributedType.FSDP and not engine.is_fsdp2:
        raise UserError(
            "Sharded training needs FSDP2, but accelerate is configured for FSDP1. Set "
            "`fsdp_version: 2` in its configuration, or pass `accelerate launch --fsdp_version 2`."
        )


def _groups(model: nn.Module, recipe: TrainerRecipe) -> list[dict]:
    """Split parameters into those with and without weight decay."""
    trained = [each for each in model.parameters() if each.requires_grad]
    if recipe.decays == "all":
        return [{"params": trained, "weight_decay": recipe.weight_decay}]
    # Weight decay on matrices only: on gains and biases it pulls towards a wrong scale.
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def _schedule(
    optimiser: torch.optim.Optimizer, recipe: TrainerRecipe
) -> torch.optim.lr_scheduler.LRScheduler:
    """Build the learning rate schedule: a warm-up, then a cosine decay."""
    if recipe.course == "cosine":
        return torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: rate(step, recipe.steps, recipe.warmup_steps)
        )
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=recipe.learning_rate,
        total_steps=recipe.steps + 1,
        pct_start=recipe.warmup_share,
        cycle_momentum=False,
        div_factor=20,
        final_div_factor=50,
    )


def rate(step: int, steps: int, warmup: int) -> float:
    """Factor on the learning rate: a linear warm-up, then a cosine decay to a twentieth."""
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
