"""A device that is not there: tensors that claim to be on it and hold their numbers on the CPU.

Inside `pretend_device()`, whatever is moved to or made on `DEVICE` is a `Pretended` tensor. Its
operations run on the CPU, so results are those of the CPU to the last bit, but under the rules of a
GPU: an operation that meets tensors of both devices raises `MixedDevices`, and every operation for
which a GPU would have to finish its work first is noted, with the function of worldeval that asked.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "pretend"
PACKAGE = str(Path(__file__).parents[2] / "worldeval") + "/"

# What a GPU cannot answer before it has finished: numbers for Python, sizes that depend on numbers.
WAITING = frozenset(
    {"_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "_unique2",
     "unique_dim", "unique_consecutive"}
)  # fmt: skip
MOVING = frozenset({"_to_copy", "copy_"})


class _Backend(_DummyBackendModule):
    """What torch asks of a device: it draws no random numbers of its own."""

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.zeros(0, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]  # checkpointing asks, whatever its tensors' device


_setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
DEVICE = torch.device(NAME, 0)
# Some of torch's own C++ passes by the mode below, such as indexing by a list.
_LIBRARY = torch.library.Library("aten", "IMPL", "PrivateUse1")
for _op in (
    torch.ops.aten.empty_strided.default,
    torch.ops.aten.empty.memory_format,
    torch.ops.aten.copy_.default,
):
    _LIBRARY.impl(_op, lambda *args, _op=_op, **kwargs: _run(_op, args, kwargs))


class MixedDevices(RuntimeError):
    """An operation met tensors of several devices."""


@dataclass
class Noted:
    """What was asked of the device, by function of worldeval."""

    waits: Counter[str] = field(default_factory=Counter)  # for its results
    uploads: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        self.waits.clear()
        self.uploads.clear()


_noted: list[Noted] = []


class Pretended(torch.Tensor):
    """A tensor on the pretended device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Pretended":
        with torch.inference_mode(False):  # else no view of it could be taken
            return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls,
                held.size(),
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=DEVICE,
                layout=held.layout,
                requires_grad=False,
            )

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Pretended({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    # So that torch swaps a module's weights when it moves, and optimisers keep the same ones.
    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], meta: Any, size: Any, stride: Any) -> Any:
        return Pretended(inner["held"])

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def pretend_device() -> Iterator[Noted]:
    """Tensors may be on `DEVICE` inside; yields what was asked of it."""
    _noted.append(Noted())
    try:
        with _Mode(), patch.object(nn.GRU, "forward", _time_first):
            yield _noted[-1]
    finally:
        _noted.pop()


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [each for each in tree_iter((args, kwargs)) if isinstance(each, Tensor)]
    theirs = [each for each in given if isinstance(each, Pretended)]
    target = kwargs.get("device")
    there = target is not None and torch.device(target).type == NAME
    if not theirs and not there:
        return func(*args, **kwargs)
    if func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
        with _Mode():  # an operation made of others, which inference does not take apart itself
            return func.decompose(*args, **kwargs)
    name = func._schema.name.removeprefix("aten::")
    moved = name in MOVING
    if moved:
        _moving(name, args, there=there, back=target is not None and not there)
    elif any(not isinstance(each, Pretended) and each.ndim for each in given):
        shapes = [f"{each.device.type}{tuple(each.shape)}" for each in given]
        raise MixedDevices(f"{name} of {', '.join(shapes)} in {_asker()}")
    elif _waits(name, args):
        _note("waits")
    inner_args, inner = tree_map(_held, (args, kwargs))
    if target is not None:
        inner["device"] = torch.device("cpu")
    if name == "_pin_memory" or name == "is_pinned":
        raise MixedDevices(f"{name} of a tensor on the device in {_asker()}")
    out = (FUSED.get(name) or func)(*inner_args, **inner)
    if moved and name == "_to_copy" and target is not None and not there:
        return out
    return _wrapped(func, args, kwargs, out)


def _gru_cell(
    given: Tensor, hidden: Tensor, h: Tensor, given_bias: Tensor, hidden_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """The step of a recurrent layer that GPUs have in one piece: the next state, and what its
    gradient needs."""
    reset_in, update_in, new_in = (given + given_bias).chunk(3, 1)
    reset_own, update_own, new_own = (hidden + hidden_bias).chunk(3, 1)
    reset, update = (reset_in + reset_own).sigmoid(), (update_in + update_own).sigmoid()
    new = (new_in + reset * new_own).tanh()
    return new + update * (h - new), torch.cat([reset, update, new, h, new_own], 1)


def _gru_cell_backward(grad: Tensor, kept: Tensor, has_bias: bool) -> tuple[Tensor, ...]:
    reset, update, new, h, new_own = kept.chunk(5, 1)
    d_new = grad * (1 - update) * (1 - new.square())
    d_update = grad * (h - new) * update * (1 - update)
    d_reset = d_new * new_own * reset * (1 - reset)
    given = torch.cat([d_reset, d_update, d_new], 1)
    hidden = torch.cat([d_reset, d_update, d_new * reset], 1)
    return given, hidden, grad * update, given.sum(0), hidden.sum(0)


FUSED = {
    "_thnn_fused_gru_cell": _gru_cell,
    "_thnn_fused_gru_cell_backward": _gru_cell_backward,
}


_forward = nn.GRU.forward


def _time_first(self: nn.GRU, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """torch's layer for batches first changes a shape in place, which these tensors cannot."""
    first, self.batch_first = self.batch_first, False
    try:
        out, last = _forward(self, x.transpose(0, 1) if first else x, h)
    finally:
        self.batch_first = first
    return (out.transpose(0, 1) if first else out), last


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Pretended) else value


def _wrapped(func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> Any:
    """Wrap what an operation returned; an operation in place returns what it was given."""
    written = [
        (args[at] if at < len(args) else kwargs.get(argument.name))
        for at, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    returns = func._schema.returns
    if (
        written
        and returns
        and all(r.alias_info is not None and r.alias_info.is_write for r in returns)
    ):
        return written[0] if len(returns) == 1 else tuple(written)
    return tree_map(lambda each: Pretended(each) if isinstance(each, Tensor) else each, out)


def _moving(name: str, args: Any, *, there: bool, back: bool) -> None:
    source = args[1] if name == "copy_" else args[0]
    on_device = isinstance(source, Pretended)
    to_device = isinstance(args[0], Pretended) if name == "copy_" else there
    if on_device and (back if name == "_to_copy" else not to_device):
        _note("waits")
    elif not on_device and to_device and source.ndim:
        _note("uploads")


def _waits(name: str, args: Any) -> bool:
    if name in WAITING:
        return True
    if name in ("index", "index_put", "index_put_"):  # a mask is first turned into places
        return any(each is not None and each.dtype == torch.bool for each in args[1])
    return name == "repeat_interleave" and isinstance(args[0], Tensor) and len(args) == 1


def _note(what: str) -> None:
    if _noted:
        getattr(_noted[-1], what)[_asker()] += 1


def _asker() -> str:
    """The innermost function of worldeval that is running: `world/hand/world.py: latents`."""
    frame: Any = sys._getframe()
    while frame is not None:
        own = frame.f_code.co_filename.startswith(PACKAGE)
        if own and not frame.f_code.co_name.startswith("<"):  # not within a comprehension
            return f"{frame.f_code.co_filename.removeprefix(PACKAGE)}: {frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"
