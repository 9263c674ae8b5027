"""How fast a device is: products, attention, imagination, training. gpu.py calls it."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from worldeval.device import autocast, compiled, made_fast
from worldeval.recipe import load
from worldeval.training.average import Average
from worldeval.training.optimise import LossOf, adamw
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.cost.train import rehearse, training_step
from worldeval.world.families import family
from worldeval.world.size import layout_of
from worldeval.world.world import World

GIB = 2**30
BACKENDS = ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH")


def wait(device: torch.device) -> None:
    """Wait until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(what: Callable[[], Any], device: torch.device, *, times: int = 10) -> float:
    """Median seconds of a call, after three that warm up."""
    for _ in range(3):
        what()
    taken = []
    for _ in range(times):
        wait(device)
        begin = perf_counter()
        what()
        wait(device)
        taken.append(perf_counter() - begin)
    return float(np.median(taken))


def peak(device: torch.device) -> float | None:
    """Most GiB of the device since `forget_peak`; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else None


def forget_peak(device: torch.device) -> None:
    """Begin to look for the peak anew."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def matmul_rates(side: int, device: torch.device) -> dict[str, Any]:
    """TFLOP/s of square products, and the bandwidth of a copy in TB/s."""
    found: dict[str, Any] = {"side": side}
    for dtype in (torch.bfloat16, torch.float32):
        first, second = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        taken = seconds_of(lambda a=first, b=second: a @ b, device)
        found[f"tflops_{str(dtype).removeprefix('torch.')}"] = 2 * side**3 / taken / 1e12
    source, target = (torch.empty(4 * side, side, device=device) for _ in range(2))
    taken = seconds_of(lambda: target.copy_(source), device)
    found["copy_terabytes_per_s"] = 2 * source.nbytes / taken / 1e12
    return found


def attention_rates(
    shape: tuple[int, int, int, int], device: torch.device, *, batch: int = 8
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Attention of a frame of `dit-base` to its window, by every kernel, with and without mask."""
    heads, queries, keys, width = shape

    def measured(backend: str, masked: bool, backward: bool) -> dict[str, Any]:
        query, key, value = (
            torch.randn(
                batch, heads, length, width, device=device, dtype=torch.bfloat16,
                requires_grad=backward,
            )
            for length in (queries, keys, keys)
        )  # fmt: skip
        mask = None
        if masked:
            mask = torch.ones(batch, 1, 1, keys, dtype=torch.bool, device=device)

        def call() -> None:
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            if backward:
                out.sum().backward()

        forget_peak(device)
        with sdpa_kernel(getattr(SDPBackend, backend)):
            taken = seconds_of(call, device)
        flops = 4 * batch * heads * queries * keys * width * (3.5 if backward else 1)
        return {"ms": 1e3 * taken, "tflops": flops / taken / 1e12, "peak_gib": peak(device)}

    for backend in BACKENDS:
        for masked in (False, True):
            for backward in (False, True):
                name = backend.lower() + ", mask" * masked + ", backward" * backward
                yield (
                    name,
                    lambda backend=backend, masked=masked, backward=backward: measured(
                        backend, masked, backward
                    ),
                )


def imagined_speed(
    recipe: str, *, steps: int, batch: int, frames: int, device: torch.device, fast: bool
) -> dict[str, Any]:
    """Frames per second of a new world: a frame is all views of one episode, copied out."""
    world = new_world_on(recipe, device)
    world.steps = steps
    if fast:
        world.compile_networks()
    spec, rng = world.spec, np.random.default_rng(0)
    latents = torch.zeros(batch, len(spec.views), *spec.latent)
    pose = np.zeros((batch, spec.pose_dim), np.float32)
    actions = rng.uniform(-1, 1, (batch, frames, spec.action_dim)).astype(np.float32)
    forget_peak(device)
    began = perf_counter()
    state = world.begin_latents(latents, pose, [spec.tasks[0]] * batch, list(range(batch)))
    state = world.walk(state, actions).state  # fills the history, and compiles
    wait(device)
    warm = perf_counter() - began
    begin = perf_counter()
    walked = world.walk(state, actions)
    taken = perf_counter() - begin
    return {
        "recipe": recipe,
        "sampler_steps": steps,
        "batch": batch,
        "compiled": fast,
        "frames_per_s": batch * frames / taken,
        "warm_up_s": warm,
        "peak_gib": peak(device),
        "finite": bool(np.isfinite(walked.latents).all()),
    }


def new_world_on(recipe: str, device: torch.device) -> World:
    """A world of a recipe with fresh weights, made where it is used."""
    found = load(recipe, "model")
    torch.manual_seed(0)
    with torch.device(device):
        world = family(found.kind).new(layout_of(found.config), found.config)
    made_fast(world, device)
    return world.to(device).eval()


def trained_speed(
    recipe: str, *, rows: int, steps: int, device: torch.device, fast: bool
) -> dict[str, Any]:
    """Training steps per second, memory, and the share of time in which the device is idle."""
    found = load(recipe, "model")
    result: dict[str, Any] = {"recipe": recipe, "rows": rows, "compiled": fast}

    def by(model: nn.Module, loss_of: LossOf, trainer: TrainerRecipe) -> None:
        result.update(_trained(model, loss_of, trainer, steps=steps, device=device, fast=fast))

    rehearse(found.kind, found.config, rows, by, device=str(device))
    flops = training_step(found.kind, found.config, rows).work.flops
    return result | {"costliest_teraflop": flops / 1e12}


def _trained(
    model: nn.Module,
    loss_of: LossOf,
    trainer: TrainerRecipe,
    *,
    steps: int,
    device: torch.device,
    fast: bool,
) -> dict[str, Any]:
    net = deepcopy(model).to(device).train()
    made_fast(net, device)
    optimiser, average = adamw(net, trainer, device), Average(net, trainer.ema)
    called = compiled(net, device) if fast else net
    forget_peak(device)

    def step() -> Tensor:
        with autocast(device):
            loss = loss_of(called, trainer.steps - 1)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update()
        return loss.detach()

    losses = [step() for _ in range(2)]
    wait(device)
    taken = []
    for _ in range(steps):
        begin = perf_counter()
        losses.append(step())
        wait(device)
        taken.append(perf_counter() - begin)
    return {
        "step_s": float(np.median(taken)),
        "steps": steps,
        "peak_gib": peak(device),
        "idle_share": _idle(step, device),
        "finite": bool(torch.stack(losses).isfinite().all()),
    }


def _idle(step: Callable[[], Any], device: torch.device) -> float | None:
    """Share of two steps in which no kernel runs; None on a CPU."""
    if device.type != "cuda":
        return None
    kind = torch.profiler.ProfilerActivity.CUDA
    with torch.profiler.profile(activities=[kind]) as profile:
        begin = perf_counter()
        for _ in range(2):
            step()
        wait(device)
        taken = perf_counter() - begin
    busy = sum(each.self_device_time_total for each in profile.key_averages()) / 1e6
    return max(0.0, 1 - busy / taken)


def in_autocast(device: torch.device) -> Any:
    """Autocast on a GPU; nothing on a CPU."""
    return nullcontext() if device.type == "cpu" else autocast(device)
