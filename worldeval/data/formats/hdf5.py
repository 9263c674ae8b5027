"""Reading HDF5 files that somebody else wrote: every failure names the file and the field."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from worldeval.axes import Array, Float32, Int, UInt8
from worldeval.data.files import LOOSE, bounded, numbers
from worldeval.data.finding import DataError
from worldeval.data.formats.hdf5_links import refuse_ways_out

MAX_ROWS = 10_000_000  # of one episode; a claim beyond it is damage


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading. One that leads into other files is refused as a whole."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise DataError(path, "file", "it is no regular file.")
        refuse_ways_out(path, (state.st_mtime_ns, state.st_size))
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(path, "file", f"it is not readable HDF5 ({error}).") from error
    with file:
        yield file


def group(parent: h5py.Group, name: str, path: Path) -> h5py.Group:
    """A group inside `parent`."""
    found = _member(parent, name, path)
    if not isinstance(found, h5py.Group):
        raise DataError(path, f"{parent.name}/{name}", "it is not a group.")
    return found


def dataset(parent: h5py.Group, name: str, path: Path) -> h5py.Dataset:
    """A dataset inside `parent`, its values in this very file."""
    found, field = _member(parent, name, path), f"{parent.name}/{name}"
    if not isinstance(found, h5py.Dataset):
        raise DataError(path, field, "it is not a dataset.")
    if found.ndim and found.shape[0] > MAX_ROWS:
        raise DataError(path, field, f"it claims {found.shape[0]} rows.")
    return found


def table(parent: h5py.Group, name: str, path: Path) -> Float32[Array, "t d"]:
    """A dataset of numbers, a row per frame."""
    found, field = dataset(parent, name, path), f"{parent.name}/{name}"
    if found.dtype.kind not in "fiub":
        raise DataError(path, field, f"it holds {found.dtype}, not numbers.")
    bounded(found.nbytes, found.id.get_storage_size(), path, field)
    return numbers(_read(found, path, field), path, field)


def images(found: h5py.Dataset, path: Path, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
    """Frames `rows` of a dataset of images."""
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
    """Whether a dataset holds distances: (t, h, w) or (t, h, w, 1), of more than a byte each."""
    return (
        isinstance(found, h5py.Dataset)
        and found.dtype.kind in "fui"
        and found.dtype.itemsize > 1
        and (found.ndim == 3 or (found.ndim == 4 and found.shape[-1] == 1))
        and min(found.shape[1:3]) > 8  # a stack of small matrices is no picture
    )


def pictures(found: h5py.Dataset, path: Path, rows: Int[Array, " n"]) -> Array:
    """Rows of a dataset of pictures of any kind, in the order asked for."""
    wanted, where = np.unique(rows, return_inverse=True)
    if len(wanted) and wanted[-1] >= len(found):
        raise DataError(
            path, str(found.name), f"frame {wanted[-1]} is asked for, and it has {len(found)}."
        )
    return _read(found, path, str(found.name), wanted)[where]


def text(value: object) -> str:
    """An attribute or a cell as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _member(parent: h5py.Group, name: str, path: Path):
    field = f"{parent.name}/{name}".replace("//", "/")
    try:
        link = parent.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise DataError(path, field, f"it is a link to {link.filename}, which is not read.")
        return parent[name]
    except KeyError as error:
        there = ", ".join(list(parent)[:12]) or "nothing"
        raise DataError(path, field, f"it is missing (there is {there}).") from error
    except (OSError, RuntimeError) as error:
        raise DataError(path, field, f"it cannot be read ({error}).") from error


def _read(found: h5py.Dataset, path: Path, field: str, rows: Int[Array, " n"] | None = None):
    try:
        if found.chunks is not None:  # a chunk is unpacked whole, whatever is wanted of it
            chunk = int(np.prod(found.chunks, dtype=np.float64)) * found.dtype.itemsize
            bounded(chunk, path.stat().st_size, path, field, expansion=LOOSE)
        return found[()] if rows is None else found[rows]
    except (OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise DataError(path, field, f"it cannot be read ({error}).") from error
