"""Select where torch computes: the device, its precision, and the number of threads."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map

from worldeval.errors import UserError

# Names that Linux gives to hardware bfloat16 products: x86 vectors, x86 tiles, Arm.
BF16 = "WORLDEVAL_BF16"  # 0 switches bfloat16 off
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
# 1 compiles networks, as does the name of another backend of torch.compile, such as eager.
COMPILE = "WORLDEVAL_COMPILE"
# This process's number among its like: ours for workers, then that of torchrun and accelerate.
TURN, LOCAL_RANK = "WORLDEVAL_TURN", "LOCAL_RANK"


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; `auto` is a CUDA device if there is one, else the CPU.

    Numbered processes share the CUDA devices of their machine in turn.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        turn = os.environ.get(TURN) or os.environ.get(LOCAL_RANK) or "0"
        return torch.device("cuda", int(turn) % torch.cuda.device_count())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(
            f"Unknown device '{name}'. Give auto, cpu, cuda or a single device such as cuda:1."
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"The device '{name}' is not available: torch {torch.__version__} finds "
            f"{torch.cuda.device_count()} CUDA devices. Give --device auto."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"The device '{name}' is not available. Give --device auto.")
    return device


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Multiply in bfloat16 inside the context if the hardware supports it, else in float32.

    WORLDEVAL_BF16=0 in the environment keeps float32 everywhere: the same numbers on every machine.
    """
    if device.type == "meta" or not bf16_pays(device):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def gpu_autocast(device: torch.device) -> AbstractContextManager[object]:
    """`autocast` on a GPU; on a CPU float32, in which the shipped worlds were measured."""
    return nullcontext() if device.type == "cpu" else autocast(device)


def on_host(*values: torch.Tensor) -> list[np.ndarray]:
    """Copy tensors to arrays, waiting for the device once.

    From a GPU they go through pinned memory, so that the copies overlap.
    """
    if values[0].device.type != "cuda":
        return [value.cpu().numpy() for value in values]
    here = [torch.empty(value.shape, dtype=value.dtype, pin_memory=True) for value in values]
    for own, value in zip(here, values, strict=True):
        own.copy_(value, non_blocking=True)
    torch.cuda.current_stream(values[0].device).synchronize()
    return [own.numpy() for own in here]


def generators_of(seeds: Sequence[int], device: torch.device) -> list[torch.Generator]:
    """Create one generator per episode, so that its draws do not depend on the batch.

    They draw on a GPU if `device` is one, else on the CPU; the two draw different numbers.
    """
    where = device if device.type == "cuda" else torch.device("cpu")
    return [torch.Generator(where).manual_seed(int(seed)) for seed in seeds]


def compiles() -> bool:
    """Whether networks are to be compiled: `--compile`, or WORLDEVAL_COMPILE=1."""
    return os.environ.get(COMPILE, "0") not in ("", "0")


@contextmanager
def compiling(wanted: bool) -> Iterator[None]:
    """Compile networks inside the context, if `wanted`, also in processes that start there."""
    before = os.environ.get(COMPILE)
    if wanted and not compiles():
        os.environ[COMPILE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(COMPILE, None)
        else:
            os.environ[COMPILE] = before


def compiled(function: Any, device: torch.device, *, graphs: bool = False) -> Any:
    """Compile a function or a network for the exact shapes that it is called with.

    Every new batch size compiles anew, which takes a minute for a large network; after the eighth,
    torch computes further ones uncompiled. With `graphs`, a GPU replays one CUDA graph per shape,
    and results are copied out of it. Nothing else on the device changes.
    """
    backend = os.environ.get(COMPILE, "1")
    recorded = graphs and device.type == "cuda" and backend == "1"
    fast: Callable[..., Any] = torch.compile(
        function,
        dynamic=False,
        backend="inductor" if backend == "1" else backend,
        mode="reduce-overhead" if recorded else None,
    )
    return fast if not recorded else _copied_out(fast)


def _copied_out(fast: Callable[..., Any]) -> Callable[..., Any]:
    """A graph's next replay overwrites its results."""

    def call(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return tree_map(
            lambda each: each.clone() if isinstance(each, torch.Tensor) else each,
            fast(*args, **kwargs),
        )

    return call


def made_fast(net: nn.Module, device: torch.device) -> None:
    """On a GPU, multiply float32 in TF32, and lay convolutions out for its fastest kernels."""
    if device.type != "cuda":
        return
    torch.set_float32_matmul_precision("high")
    channels_last(net)


def channels_last(net: nn.Module) -> None:
    """Store the weights of 2-D convolutions with channels last; their inputs follow."""
    for each in net.modules():
        if isinstance(each, nn.Conv2d | nn.ConvTranspose2d):
            each.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def bf16_pays(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, and this is not switched off."""
    if device.type == "meta":  # which stands for a GPU, and casts by itself (world/cost)
        return True
    if os.environ.get(BF16) == "0":
        return False
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and cpu_has_bf16()


@cache
def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; otherwise autocast only costs time."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return False
    return not BF16_FLAGS.isdisjoint(cpuinfo.read_text().split())


def threads_each(processes: int) -> int:
    """Return how many of this process's threads each of several processes may use.

    Not a share of the machine's cores: OMP_NUM_THREADS may allow fewer, and threads that wait for
    a core that others use make every operation wait.
    """
    return max(1, torch.get_num_threads() // processes)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Compute with `n` threads inside the context, and restore the previous number afterwards."""
    if n < 1:
        raise UserError(f"The number of threads is {n}. Give 1 or more.")
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
