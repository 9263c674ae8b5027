"""Messages between machines: msgpack with NumPy arrays, in the format of openpi's servers.

An array is the map {b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [2, 3]}, a
NumPy scalar {b"__npgeneric__": True, b"data": 1.5, b"dtype": "<f4"}; the keys are bytes. Incoming
data is untrusted: only numbers are accepted (no objects, no code), and every size is bounded.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldeval.errors import UserError

try:
    import msgpack
except ModuleNotFoundError as error:  # pragma: no cover
    raise UserError(
        "Policies and worlds over the network need msgpack and websockets: "
        "pip install 'worldeval[serve]'."
    ) from error

NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
DIMENSIONS = 8


class WireError(ValueError):
    """A message that was rejected, and why."""


@dataclass(frozen=True, kw_only=True)
class MessageLimits:
    """Limits for incoming messages. Only arrays may be large."""

    message: int = 64 * 2**20  # bytes
    items: int = 4096  # entries of one list or map
    # Lists and maps in one message: an empty map takes one byte on the wire and sixty in memory.
    containers: int = 1024
    text: int = 16 * 2**10  # bytes of one text


def pack(content: Any) -> bytes:
    """Serialise `content`: maps, lists, texts, numbers and NumPy arrays."""
    packed = msgpack.packb(content, default=_plain)
    assert packed is not None  # only packers with autoreset=False return None
    return packed


def unpack(message: bytes, limits: MessageLimits | None = None) -> Any:
    """Parse `message`; arrays are writable copies.

    Raises:
        WireError: the message is damaged, too large or too deep, or holds something other than
            plain values and arrays of numbers.
    """
    limits = limits or MessageLimits()
    if len(message) > limits.message:
        raise WireError(f"the message has {len(message)} bytes; the maximum is {limits.message}")
    reader = _Reader(limits)
    try:
        return msgpack.unpackb(
            message,
            object_hook=reader.map,
            list_hook=reader.list,
            max_array_len=limits.items,
            max_map_len=limits.items,
            max_str_len=limits.text,
            max_bin_len=limits.message,
            max_ext_len=0,
        )
    except WireError:
        raise
    except msgpack.exceptions.StackError as error:
        raise WireError("the message is nested too deeply") from error
    # msgpack reports damage by whichever of these its parser met first.
    except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        said = str(error) or type(error).__name__
        raise WireError(f"the message is not readable msgpack: {said[:200]}") from error


class _Reader:
    """Convert maps to arrays while one message is parsed, and count its containers."""

    def __init__(self, limits: MessageLimits) -> None:
        self._left = limits.containers
        self._most = limits.containers

    def list(self, value: list[Any]) -> list[Any]:
        self._count()
        return value

    def map(self, value: dict[Any, Any]) -> Any:
        self._count()
        if b"__ndarray__" in value:
            return _array(value)
        if b"__npgeneric__" in value:
            return _scalar(value)
        return value

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise WireError(f"the message contains more than {self._most} lists and maps")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if not NUMBERS.fullmatch(value.dtype.str):
            raise WireError(f"arrays must be numeric, not of dtype {value.dtype}")
        named = {b"dtype": value.dtype.str}
        if isinstance(value, np.generic):
            return {b"__npgeneric__": True, b"data": value.item(), **named}
        return {b"__ndarray__": True, b"data": value.tobytes(), b"shape": value.shape, **named}
    raise WireError(f"values of type {type(value).__name__} cannot be sent")


def _array(value: dict[Any, Any]) -> np.ndarray:
    dtype, shape, data = _dtype(value), value.get(b"shape"), value.get(b"data")
    if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > DIMENSIONS:
        raise WireError("an array must have data in bytes and a shape of at most 8 dimensions")
    if not all(type(side) is int and 0 <= side < 2**31 for side in shape):
        raise WireError("the shape of an array must be a list of non-negative integers")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise WireError(
            f"an array of shape {shape} and dtype {dtype} cannot have {len(data)} bytes of data"
        )
    # Copy in the machine's own byte order, because received data is read-only.
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _scalar(value: dict[Any, Any]) -> Any:
    data = value.get(b"data")
    if isinstance(data, str):  # NumPy text scalars
        return data
    if not isinstance(data, bool | int | float):
        raise WireError("a numpy scalar must be a number")
    return np.asarray(data, _dtype(value))[()]


def _dtype(value: dict[Any, Any]) -> np.dtype:
    name = value.get(b"dtype")
    if not isinstance(name, str) or not NUMBERS.fullmatch(name):
        raise WireError(f"arrays must be numeric, not of dtype {str(name)[:20]!r}")
    return np.dtype(name)
