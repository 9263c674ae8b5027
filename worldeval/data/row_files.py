"""Rows of equal shape in many files, of which only those that are asked for are read.

The files are safetensors with the rows, their checksums, and whatever else the writer adds. Rows
are read with `pread` and not from a memory map: a process then holds no more of the files than the
rows that it was given, a fault of the disk is an error instead of a signal, and the number of files
is not bounded by that of open files. A row's checksum is compared the first time that a process
reads it.
"""

import json
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from worldeval.axes import Array, Int, UInt32
from worldeval.data.finding import DataError
from worldeval.files import whole_file
from worldeval.written import safetensors_written

OPEN = 64  # files that a process keeps open
SUMS = "crc32"  # the tensor of the checksums, one per row
HEADER = 1 << 20  # bytes; a longer header means damage


def write_rows(path: Path, name: str, rows: Array, **more: Array) -> None:
    """Write the rows as the tensor `name`, with their checksums and further tensors."""
    rows = np.ascontiguousarray(rows)  # safetensors writes the bytes as they lie
    sums = np.array([zlib.crc32(row) for row in rows], np.uint32)
    with whole_file(path) as draft, safetensors_written(draft):
        save_file({name: rows, SUMS: sums, **more}, draft)


@dataclass(frozen=True, kw_only=True)
class RowFile:
    """One file of rows: where they begin in it, and what was found in its header."""

    path: Path
    name: str
    begin: int  # bytes
    dtype: np.dtype
    shape: tuple[int, ...]
    header: Mapping[str, Any] = field(repr=False)
    data: int  # bytes before the first tensor

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Return the size of a row."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def vector(self, name: str, dtype: type, descriptor: int | None = None) -> Array:
        """Read a further tensor of one axis, from the file or from an open descriptor of it.

        Raises:
            DataError: it is missing or cut off.
        """
        try:
            first, last = self.header[name]["data_offsets"]
            with open(self.path if descriptor is None else os.dup(descriptor), "rb") as file:
                content = os.pread(file.fileno(), int(last) - int(first), self.data + int(first))
            found = np.frombuffer(content, dtype)
            if len(found) != self.header[name]["shape"][0]:
                raise ValueError(f"{len(found)} of {self.header[name]['shape'][0]} values")
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise _incomplete(self.path, name, error) from error
        return found


def open_rows(path: Path, name: str, dtype: type) -> RowFile:
    """Read the header of a file of rows.

    Raises:
        DataError: it is not a complete file with rows of this type.
    """
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(size, HEADER)))
        facts = header[name]
        first, last = facts["data_offsets"]
        shape = tuple(int(side) for side in facts["shape"])
        own, least = np.dtype(dtype), 8 + size + int(last)
        if int(np.prod(shape, dtype=np.int64)) * own.itemsize != int(last) - int(first):
            raise ValueError(f"{facts['dtype']} {shape} in {int(last) - int(first)} bytes")
        if path.stat().st_size < least:
            raise ValueError(f"{path.stat().st_size} bytes of at least {least}")
    except (OSError, ValueError, LookupError, TypeError, struct.error, OverflowError) as error:
        raise _incomplete(path, name, error) from error
    return RowFile(
        path=path,
        name=name,
        begin=8 + size + int(first),
        dtype=own,
        shape=shape,
        header=header,
        data=8 + size,
    )


class RowFiles:
    """The rows of several files, one after another, read like one array."""

    def __init__(self, files: Sequence[RowFile]) -> None:
        """
        Raises:
            ValueError: rows have different shapes.
            DataError: a file is missing.
        """
        self.files = tuple(files)
        first = self.files[0]
        for each in self.files:
            if each.shape[1:] != first.shape[1:] or each.dtype != first.dtype:
                raise ValueError(
                    f"rows of {each.shape[1:]} {each.dtype} and {first.shape[1:]} {first.dtype}"
                )
        self._ends: Int[Array, " f"] = np.cumsum([len(each) for each in self.files])
        self.dtype = first.dtype
        self.shape = (int(self._ends[-1]), *first.shape[1:])
        self._opened: OrderedDict[int, int] = OrderedDict()  # file -> descriptor, newest last
        self._sums: dict[int, UInt32[Array, " n"]] = {}
        self._seen: dict[int, Array] = {}  # which rows were compared with their checksums
        for number in range(min(OPEN, len(self.files))):  # also read when their folder is gone
            self._descriptor(number)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Int[Array, "..."]) -> Array:
        """Read rows by number, in any order and shape; negative numbers count from the end.

        Raises:
            DataError: the file of a row is damaged.
        """
        if isinstance(rows, slice):
            return self[np.arange(*rows.indices(len(self)))]
        wanted = np.asarray(rows)
        if wanted.size and (wanted.min() < -len(self) or wanted.max() >= len(self)):
            raise IndexError(f"there are {len(self)} rows, not {wanted.max()}")
        flat = np.where(wanted < 0, wanted + len(self), wanted).ravel()
        if (flat[1:] > flat[:-1]).all():
            out = self._read(flat)
        else:
            unique, place = np.unique(flat, return_inverse=True)
            out = self._read(unique)[place]
        return out.reshape(*wanted.shape, *self.shape[1:])

    def __array__(self, dtype: object = None, copy: bool | None = None) -> Array:
        return self[:] if dtype is None else self[:].astype(dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": OrderedDict()}  # descriptors are of this process

    def __del__(self) -> None:
        for descriptor in getattr(self, "_opened", {}).values():
            os.close(descriptor)

    def _read(self, rows: Int[Array, " k"]) -> Array:
        """Read ascending rows, neighbours at once."""
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self._ends, rows, side="right")
        apart = (rows[1:] != rows[:-1] + 1) | (owner[1:] != owner[:-1])
        cuts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(rows)]
        for first, last in pairwise(cuts) if len(rows) else ():
            number = int(owner[first])
            own = int(rows[first]) - int(self._ends[number]) + len(self.files[number])
            self._fill(number, own, out[first:last])
        return out

    def _fill(self, number: int, begin: int, out: Array) -> None:
        file = self.files[number]
        place = out.reshape(-1).view(np.uint8).data
        at, done = file.begin + begin * file.row_bytes, 0
        try:
            while done < len(place):
                count = os.preadv(self._descriptor(number), [place[done:]], at + done)
                if not count:
                    raise OSError("the file ends too early")
                done += count
        except OSError as error:
            raise _incomplete(file.path, file.name, error) from error
        self._compare(number, begin, out)

    def _compare(self, number: int, begin: int, out: Array) -> None:
        file = self.files[number]
        if number not in self._seen:
            self._sums[number] = file.vector(SUMS, np.uint32, self._descriptor(number))
            self._seen[number] = np.zeros(len(file), bool)
        seen = self._seen[number][begin : begin + len(out)]
        for place in np.flatnonzero(~seen).tolist():
            if zlib.crc32(out[place]) != self._sums[number][begin + place]:
                raise DataError(
                    file.path,
                    file.name,
                    f"row {begin + place} does not match its checksum: the file is damaged.",
                    "Remove the file and encode again.",
                )
        seen[:] = True

    def _descriptor(self, number: int) -> int:
        if number in self._opened:
            self._opened.move_to_end(number)
        else:
            if len(self._opened) >= OPEN:
                os.close(self._opened.popitem(last=False)[1])
            file = self.files[number]
            try:
                self._opened[number] = os.open(file.path, os.O_RDONLY)
            except OSError as error:
                raise _incomplete(file.path, file.name, error) from error
        return self._opened[number]


def _incomplete(path: Path, name: str, error: Exception) -> DataError:
    return DataError(
        path, name, f"it is not a complete file of latents ({error}).", "Encode again."
    )
