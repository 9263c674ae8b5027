"""Where torch computes: the device, the precision that pays on it, and how many threads."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path

import torch

from worldeval.errors import UserError

# Names that Linux gives to hardware bfloat16 products: x86 vectors, x86 tiles, Arm.
BF16 = "WORLDEVAL_BF16"  # 0 switches bfloat16 off
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
# This process's number among its like: ours for workers, then that of torchrun and accelerate.
TURN, LOCAL_RANK = "WORLDEVAL_TURN", "LOCAL_RANK"


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; `auto` is a CUDA device, else the CPU.

    Processes that are numbered take the CUDA devices of their machine by turns.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        turn = os.environ.get(TURN) or os.environ.get(LOCAL_RANK) or "0"
        return torch.device("cuda", int(turn) % torch.cuda.device_count())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"There is no device '{name}'. Give auto, cpu, cuda or cuda:1.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"The device '{name}' is not here: torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices. Give --device auto."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"The device '{name}' is not here. Give --device auto.")
    return device


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context of bfloat16 products where the hardware has them, of plain float32 elsewhere.

    WORLDEVAL_BF16=0 in the environment keeps float32 everywhere: the same numbers on every machine.
    """
    pays = bf16_pays(device)
    return torch.autocast(device.type, dtype=torch.bfloat16) if pays else nullcontext()


def bf16_pays(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself, and nobody has switched that off."""
    if os.environ.get(BF16) == "0":
        return False
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and cpu_has_bf16()


@cache
def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 itself; where it does not, autocast only costs time."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return False
    return not BF16_FLAGS.isdisjoint(cpuinfo.read_text().split())


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Compute with `n` threads inside the context, and with as many as before after it."""
    if n < 1:
        raise UserError(f"{n} threads cannot compute anything. Give 1 or more.")
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
