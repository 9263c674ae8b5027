"""Arrays in several memory maps, read as one."""

from collections.abc import Sequence

import numpy as np

from worldeval.axes import Array, Int


class JoinedRows:
    """Concatenation of arrays with equal row shapes; only the requested rows are read."""

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
        """Read rows by number, in any order and shape; negative numbers count from the end."""
        if isinstance(rows, slice):
            return self[np.arange(*rows.indices(len(self)))]
        wanted = np.asarray(rows)
        if wanted.size and (wanted.min() < -len(self) or wanted.max() >= len(self)):
            raise IndexError(f"there are {len(self)} rows, not {wanted.max()}")
        flat = np.where(wanted < 0, wanted + len(self), wanted).ravel()
        out = np.empty((len(flat), *self.shape[1:]), self.dtype)
        order = None if (flat[1:] >= flat[:-1]).all() else np.argsort(flat, kind="stable")
        sorted_rows = flat if order is None else flat[order]
        # Where the rows of each part begin and end among those in order.
        ends = np.searchsorted(sorted_rows, self._ends)
        for array, end, first, last in zip(
            self._parts, self._ends, [0, *ends[:-1]], ends, strict=True
        ):
            if first == last:
                continue
            own = sorted_rows[first:last] - (end - len(array))
            if order is None:  # straight into place
                np.take(array, own, axis=0, out=out[first:last], mode="clip")
            else:
                out[order[first:last]] = array[own]
        return out.reshape(*wanted.shape, *self.shape[1:])

    def __array__(self, dtype: object = None, copy: bool | None = None) -> Array:
        return self[:] if dtype is None else self[:].astype(dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]
