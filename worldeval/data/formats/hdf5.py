"""Safe reading of untrusted HDF5 files; all errors name the file and the field."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from worldeval.axes import Array, Float32, Int, UInt8
from worldeval.data.files import LOOSE, bounded, numbers
from worldeval.data.finding import DataError
from worldeval.data.formats.hdf5_links import refuse_ways_out
from worldeval.hdf5_heaps import open_hdf5
from worldeval.sealed_hdf5 import Seal

MAX_ROWS = 10_000_000  # of one episode; a larger claimed number means damage


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, refusing it as a whole if it leads into other files."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise DataError(path, "file", "it is not a regular file.")
        refuse_ways_out(path, (state.st_mtime_ns, state.st_size))
        file = open_hdf5(path)
    except OSError as error:
        raise DataError(path, "file", f"it is not readable HDF5 ({error}).") from error
    with file:
        try:
            yield file
        except (OSError, RuntimeError, UnicodeError) as error:  # from a damaged link or name
            raise DataError(path, "file", f"it cannot be read ({error}).") from error


def group(parent: h5py.Group, name: str, path: Path) -> h5py.Group:
    """Return a group inside `parent`."""
    found = _member(parent, name, path)
    if not isinstance(found, h5py.Group):
        raise DataError(path, f"{parent.name}/{name}", "it is not a group.")
    return found


def dataset(parent: h5py.Group, name: str, path: Path) -> h5py.Dataset:
    """Return a dataset inside `parent` whose values are in this same file."""
    found, field = _member(parent, name, path), f"{parent.name}/{name}"
    if not isinstance(found, h5py.Dataset):
        raise DataError(path, field, "it is not a dataset.")
    try:
        found.dtype  # noqa: B018  h5py makes it of what the file says
    except (TypeError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
        raise DataError(path, field, f"its type cannot be read ({error}).") from error
    if found.ndim and found.shape[0] > MAX_ROWS:
        raise DataError(path, field, f"it states an impossible number of rows: {found.shape[0]}.")
    return found


def table(parent: h5py.Group, name: str, path: Path) -> Float32[Array, "t d"]:
    """Read a dataset of numbers, one row per frame."""
    found, field = dataset(parent, name, path), f"{parent.name}/{name}"
    if found.dtype.kind not in "fiub":
        raise DataError(path, field, f"it contains {found.dtype}, not numbers.")
    bounded(found.nbytes, found.id.get_storage_size(), path, field)
    return numbers(_read(found, path, field), path, field)


def texts(parent: h5py.Group, name: str, path: Path) -> list[str]:
    """Read a dataset that is a list of texts."""
    column, field = dataset(parent, name, path), f"{parent.name}/{name}".replace("//", "/")
    if not h5py.check_string_dtype(column.dtype) or column.ndim != 1:
        raise DataError(
            path, field, f"it contains {column.dtype} {column.shape}; expected a list of texts."
        )
    return [text(value) for value in _read(column, path, field)]


def whole_numbers(parent: h5py.Group, name: str, path: Path) -> Int[Array, " n"]:
    """Read a dataset that is a list of integers."""
    column, field = dataset(parent, name, path), f"{parent.name}/{name}".replace("//", "/")
    if column.dtype.kind not in "iu" or column.ndim != 1:
        raise DataError(
            path, field, f"it contains {column.dtype} {column.shape}; expected a list of integers."
        )
    return _read(column, path, field).astype(np.int64)


def whole(found: h5py.Dataset, path: Path) -> Array:
    """Read all values of a dataset, whose claimed size must fit the size of its file."""
    bounded(found.nbytes, found.id.get_storage_size(), path, str(found.name), expansion=LOOSE)
    return _read(found, path, str(found.name))


def images(found: h5py.Dataset, path: Path, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
    """Read frames `rows` of a dataset of images."""
    return pictures(found, path, rows)


def is_images(found: h5py.Group | h5py.Dataset | h5py.Datatype) -> bool:
    """Whether a dataset holds frames: (t, h, w, 3) bytes."""
    return (
        isinstance(found, h5py.Dataset)
        and found.dtype == np.uint8
        and found.ndim == 4
        and found.shape[-1] == 3
    )


def is_depth(found: h5py.Group | h5py.Dataset | h5py.Datatype) -> bool:
    """Whether a dataset holds distances: (t, h, w) or (t, h, w, 1), over a byte per value."""
    return (
        isinstance(found, h5py.Dataset)
        and found.dtype.kind in "fui"
        and found.dtype.itemsize > 1
        and (found.ndim == 3 or (found.ndim == 4 and found.shape[-1] == 1))
        and min(found.shape[1:3]) > 8  # a stack of small matrices is not an image
    )


def pictures(found: h5py.Dataset, path: Path, rows: Int[Array, " n"]) -> Array:
    """Read rows of a dataset of images of any kind, in the given order."""
    wanted, where = np.unique(rows, return_inverse=True)
    if len(wanted) and wanted[-1] >= len(found):
        raise DataError(
            path, str(found.name), f"frame {wanted[-1]} does not exist; it has {len(found)} frames."
        )
    return _read(found, path, str(found.name), wanted)[where]


def attribute(item: h5py.HLObject, name: str, path: Path, default: Any = None) -> Any:
    """Read an attribute that is a single value; return the default if there is none."""
    field = f"{item.name}.{name}"
    try:
        value = item.attrs.get(name, default)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise DataError(path, field, f"it cannot be read ({error}).") from error
    if isinstance(value, h5py.Empty):
        return default
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise DataError(path, field, f"its shape is {value.shape}; expected a single value.")
        return value.reshape(-1)[0]
    return value


def text(value: object) -> str:
    """Convert an attribute or a cell to text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _member(parent: h5py.Group, name: str, path: Path):
    field = f"{parent.name}/{name}".replace("//", "/")
    try:
        link = parent.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise DataError(
                path,
                field,
                f"it is a link to {link.filename}. Links to other files are not followed.",
            )
        return parent[name]
    except KeyError as error:
        there = ", ".join(text(other) for other in list(parent)[:12]) or "nothing"
        raise DataError(path, field, f"it is missing (available: {there}).") from error
    except (OSError, RuntimeError) as error:
        raise DataError(path, field, f"it cannot be read ({error}).") from error


def _read(found: h5py.Dataset, path: Path, field: str, rows: Int[Array, " n"] | None = None):
    try:
        if found.chunks is not None:  # a chunk is always decompressed as a whole
            chunk = int(np.prod(found.chunks, dtype=np.float64)) * found.dtype.itemsize
            bounded(chunk, path.stat().st_size, path, field, expansion=LOOSE)
        if rows is not None:
            return found[rows]
        values, sealed = found[()], Seal(found)
        sealed.compare(values)
        return values
    except (
        OSError, RuntimeError, ValueError, TypeError, MemoryError, OverflowError
    ) as error:  # fmt: skip
        raise DataError(path, field, f"it cannot be read ({error}).") from error
