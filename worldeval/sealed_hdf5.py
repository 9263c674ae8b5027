# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportIndexIssue=false, reportAttributeAccessIssue=false
"""Atomic writing of HDF5 files in which every dataset has a CRC-32 checksum.

HDF5 keeps what it writes in memory and moves it to the disk when a file is closed; what fails then,
h5py does not tell, or the process ends in a segmentation fault. So HDF5 is given a file that takes
everything, and the first error of the disk is raised when HDF5 is done. What lies on the disk is
then read once more and compared with its checksums.

A dataset's attribute `worldeval_crc32` holds a CRC-32 for every `worldeval_crc32_rows` rows of it.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from worldeval.axes import Array, Int
from worldeval.errors import UserError
from worldeval.files import whole_file
from worldeval.hdf5_heaps import open_hdf5

CRC, ROWS = "worldeval_crc32", "worldeval_crc32_rows"
BLOCK = 2**20  # bytes that one checksum covers, or a row where that is more
MOST = 8000  # checksums of a dataset: an attribute holds at most 64 KiB


@contextmanager
def whole_hdf5(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file at `path`: there whole, with checksums, or not at all.

    Raises:
        OSError: the disk takes no more.
        UserError: what lies on the disk is not what was written.
    """
    with whole_file(path) as draft, sealed_hdf5(draft) as file:
        yield file


@contextmanager
def sealed_hdf5(path: Path, mode: str = "w", *, verify: bool = True) -> Iterator[h5py.File]:
    """Write an HDF5 file that another writer will rename; `r+` adds to a file."""
    disk = _Disk(path, mode)
    try:
        try:
            with h5py.File(disk, mode) as file:
                yield file
                seal(file)
        except (OSError, RuntimeError):
            if disk.error is None:
                raise
        finally:
            disk.close()
        if disk.error is not None:
            raise OSError(disk.error.errno, disk.error.strerror, str(path))
        if verify:
            verify_hdf5(path)
    finally:
        # `whole_file` would remove it, and a folder that is being filled is thrown away as a whole.
        if disk.error is not None and mode == "w":
            path.unlink(missing_ok=True)


def seal(file: h5py.File) -> None:
    """Add checksums to every dataset that has none."""
    for found in _datasets(file):
        if CRC not in found.attrs:
            rows = _rows(found)
            found.attrs[ROWS] = rows
            found.attrs[CRC] = np.array([_crc(part) for part in _parts(found, rows)], np.uint32)


def verify_hdf5(path: Path) -> None:
    """Read a whole file and verify its checksums.

    Raises:
        UserError: it is not what was written.
    """
    try:
        with open_hdf5(path) as file:
            for found in _datasets(file):
                for number, part in enumerate(_parts(found, int(found.attrs[ROWS]))):
                    if _crc(part) != int(found.attrs[CRC][number]):
                        raise ValueError(f"{found.name} contains other values")
    except (OSError, RuntimeError, ValueError, KeyError, IndexError) as error:
        raise UserError(
            f"{path} was not written correctly ({error}). Check whether the disk is full or "
            "failing, then run the same command again."
        ) from error


class Seal:
    """The checksums of a dataset, as stored in its file."""

    def __init__(self, found: h5py.Dataset) -> None:
        """Raises ValueError if they do not have the expected form."""
        self._known: set[int] = set()  # blocks that were compared already
        self._crc, self._rows = None, 1
        if CRC not in found.attrs:
            return
        crc, rows = np.asarray(found.attrs[CRC]), np.asarray(found.attrs.get(ROWS, 0))
        count = len(found) if found.ndim else 1
        if rows.shape != () or rows.dtype.kind not in "iu" or rows < 1 or crc.dtype.kind != "u":
            raise ValueError("its checksums are unreadable")
        if crc.shape != (max(1, -(-count // int(rows))),):
            raise ValueError("its checksums belong to another number of rows")
        self._crc, self._rows = crc, int(rows)

    def compare(self, values: Any, rows: Int[Array, " n"] | None = None) -> None:
        """Verify all `values` of the dataset, or the blocks with `rows` not verified before.

        Raises:
            ValueError: they differ from what was written.
        """
        if self._crc is None:
            return
        wanted = range(len(self._crc)) if rows is None else np.unique(rows // self._rows).tolist()
        for number in wanted:
            if number not in self._known:
                begin = number * self._rows
                part = values[begin : begin + self._rows] if np.ndim(values) else values
                if _crc(part) != int(self._crc[number]):
                    raise ValueError(
                        "its values do not match their checksum: the file is damaged or was "
                        f"changed. If you changed it yourself, remove its attribute {CRC}"
                    )
                self._known.add(number)


def _datasets(file: h5py.File) -> list[h5py.Dataset]:
    """List every dataset that stores its own values."""
    found: list[h5py.Dataset] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not item.is_virtual:
            found.append(item)

    file.visititems(visit)
    return found


def _rows(found: h5py.Dataset) -> int:
    if not found.ndim or not len(found):
        return 1
    row = max(1, int(np.prod(found.shape[1:], dtype=np.int64)) * found.dtype.itemsize)
    return max(1, BLOCK // row, -(-len(found) // MOST))


def _parts(found: h5py.Dataset, rows: int) -> Iterator[Any]:
    if not found.ndim:
        yield found[()]
        return
    for begin in range(0, max(1, len(found)), rows):
        yield found[begin : begin + rows]


def _crc(values: Any) -> int:
    if isinstance(values, bytes | str) or np.asarray(values).dtype.kind == "O":
        texts = np.atleast_1d(np.asarray(values, object)).ravel()
        whole = [one if isinstance(one, bytes) else str(one).encode() for one in texts]
        return zlib.crc32(b"\0".join(whole))
    return zlib.crc32(memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8)))


class _Disk:
    """A file object for HDF5 that stores the first error of the disk, to be raised later."""

    def __init__(self, path: Path, mode: str) -> None:
        self._file = path.open("w+b" if mode == "w" else "r+b", buffering=0)
        self._end = os.fstat(self._file.fileno()).st_size
        self._place = 0
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + {0: 0, 1: self._place, 2: self._end}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        done = len(left)
        self._end = max(self._end, self._place + done)
        try:
            while left and self.error is None:
                count = os.pwrite(self._file.fileno(), left, self._place)
                left, self._place = left[count:], self._place + count
        except OSError as error:
            self.error = error
        self._place += len(left)
        return done

    def read(self, size: int) -> bytes:
        """Present because h5py recognises file objects by it."""
        found = bytearray(size)
        self.readinto(found)
        return bytes(found)

    def readinto(self, target: Any) -> int:
        """Read what was written; zeros where writing failed."""
        view = memoryview(target).cast("B")
        found = os.pread(self._file.fileno(), len(view), self._place)
        view[: len(found)] = found
        view[len(found) :] = bytes(len(view) - len(found))
        self._place += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._end = self._place if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._file.fileno(), self._end)
            except OSError as error:
                self.error = error
        return self._end

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            self.error = self.error or error
