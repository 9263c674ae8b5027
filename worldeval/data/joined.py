"""Arrays that lie in several memory maps, read as one."""

from collections.abc import Sequence

import numpy as np

from worldeval.axes import Array, Int


class JoinedRows:
    """Arrays with equal rows, one after another; only the rows that are asked for are read."""

    def __init__(self, parts: Sequence[Array]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._ends = np.cumsum([len(part) for part in self._parts])
        first = self._parts[0]
        for part in self._parts:
            if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise ValueError(
                    f"rows of {part.shape[1:]} {part.dtype} and {first.shape[1:]} {first.dtype}"
                )
        self.dtype = first.dtype
        self.shape = (int(self._ends[-1]), *first.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Int[Array, "..."]) -> Array:
        """Rows by number, in any order and shape; negative numbers count from the end."""
        if isinstance(rows, slice):
            return self[np.arange(*rows.indices(len(self)))]
        wanted = np.asarray(rows)
        if wanted.size and (wanted.min() < -len(self) or wanted.max() >= len(self)):
            raise IndexError(f"there are {len(self)} rows, not {wanted.max()}")
        flat = np.where(wanted < 0, wanted + len(self), wanted).ravel()
        out = np.empty((len(flat), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self._ends, flat, side="right")
        order = np.argsort(owner, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(owner[order])) + 1):
            if len(part):
                index = int(owner[part[0]])
                array = self._parts[index]
                out[part] = array[flat[part] - (self._ends[index] - len(array))]
        return out.reshape(*wanted.shape, *self.shape[1:])

    def __array__(self, dtype: object = None, copy: bool | None = None) -> Array:
        return self[:] if dtype is None else self[:].astype(dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]
