"""Count what a computation on the `meta` device would do: its kernels, and its memory over time."""

import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from worldeval.world.cost.work import Kernel, Work

MADE = torch._C.DispatchKey.CompositeImplicitAutograd  # of an operation that is made of others
# These make no kernel although their schemas do not say that they return a view.
FREE = frozenset(
    {"_unsafe_view", "_reshape_alias", "detach", "alias", "lift_fresh", "empty", "empty_like",
     "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"}
)  # fmt: skip
# These read only what they return, however large their first input is.
PICKING = frozenset({"index", "index_select", "gather", "embedding"})
WRITING = frozenset({"copy_", "fill_", "zero_"})  # these do not read what they overwrite


@dataclass(frozen=True)
class _Shape:
    """What an output is like, so that the same operation need not be worked out again."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, value: Tensor) -> "_Shape":
        return cls(tuple(value.shape), value.stride(), value.dtype)

    def made(self) -> Tensor:
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")


class Counting(TorchDispatchMode):
    """Count operations on `meta` tensors; those on the CPU run as ever and are not counted.

    `live` is the number of bytes in tensors made inside that still exist, `peak` its maximum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[Kernel] = Counter()
        self.live = self.peak = 0
        self._known: dict[Any, tuple[Any, Kernel]] = {}
        self._storages: dict[int, Any] = {}

    def begin(self) -> None:
        """Count kernels from here, and the peak from what is live."""
        self.kernels.clear()
        self.peak = self.live

    @property
    def work(self) -> Work:
        """The kernels since `begin`."""
        return Work(self.kernels)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        target = kwargs.get("device")
        there = any(each.is_meta for each in given)
        if not there and not (target is not None and torch.device(target).type == "meta"):
            return func(*args, **kwargs)
        if func._overloadpacket not in flop_registry and func.has_kernel_for_dispatch_key(MADE):
            with self:
                return func.decompose(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if name in FREE or func.is_view:
            out = func(*args, **kwargs)
            return self._kept(out) if "empty" in name else out
        if func._schema.is_mutable:
            out = func(*args, **kwargs)
            self.kernels[_kernel(func, name, args, kwargs, given, out)] += 1
            return out
        key = _key(func, args, kwargs)
        if key is None or key not in self._known:
            out = func(*args, **kwargs)
            kernel = _kernel(func, name, args, kwargs, given, out)
            if key is not None:
                self._known[key] = (_described(out), kernel)
        else:
            described, kernel = self._known[key]
            out = _made(described)
        self.kernels[kernel] += 1
        return self._kept(out)

    def _kept(self, out: Any) -> Any:
        """Note the memory of new tensors until they are gone."""
        for each in _tensors(out):
            if each.is_meta:
                storage = each.untyped_storage()
                key = storage._cdata
                if key not in self._storages:
                    size = storage.nbytes()
                    self.live += size
                    self.peak = max(self.peak, self.live)
                    gone = self._gone(key, size)
                    self._storages[key] = weakref.ref(storage, gone)
        return out

    def _gone(self, key: int, size: int) -> Callable[[Any], None]:
        def gone(_: Any) -> None:
            self.live -= size
            self._storages.pop(key, None)

        return gone


def bytes_of(value: Tensor) -> int:
    """Bytes that a tensor really holds: a dimension that is only expanded counts once."""
    count = 1
    for size, stride in zip(value.shape, value.stride(), strict=True):
        count *= size if stride or size == 0 else 1
    return count * value.element_size()


def _kernel(
    func: Any, name: str, args: Any, kwargs: dict[str, Any], given: list[Tensor], out: Any
) -> Kernel:
    written = sum(map(bytes_of, _tensors(out)))
    read = written if name in PICKING else sum(map(bytes_of, given))
    if name in WRITING:
        read -= bytes_of(given[0])
    count = flop_registry.get(func._overloadpacket)
    flops = 0 if count is None else count(*args, **kwargs, out_val=out)
    return Kernel(flops=float(flops), read_write=float(read + written))


def _key(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """A key of everything that the outputs' shapes depend on; None if there is none."""
    key = (func, _frozen(args), _frozen(kwargs))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _frozen(value: Any) -> Any:
    if isinstance(value, Tensor):
        # A number on the CPU may be mixed in, and gives other types than one on the device.
        return (tuple(value.shape), value.stride(), value.dtype, value.is_meta)
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return tuple((key, _frozen(each)) for key, each in value.items())
    return (type(value), value)  # 1 and 1.0 and True are equal, and not the same


def _tensors(value: Any) -> list[Tensor]:
    """The tensors among an operation's arguments or results."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return [each for part in value for each in _tensors(part)]
    return []


def _described(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_described, value))
    return _Shape.of(value) if isinstance(value, Tensor) else value


def _made(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_made, value))
    return value.made() if isinstance(value, _Shape) else value
