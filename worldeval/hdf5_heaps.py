# pyright: reportArgumentType=false
"""Opening HDF5 files for reading, such that damaged heaps of texts cannot stop the process.

HDF5 stores texts of variable length in global heaps: a header, then objects that each state their
own size. If such a size is damaged, the HDF5 library can loop for ever, and because it does so
inside of C, nothing in the process can end it. Here HDF5 reads through a Python file that checks
every heap before HDF5 sees it.

The format is that of the HDF5 File Format Specification, version 3, section III.E.
"""

import os
import struct
from pathlib import Path
from typing import Any

import h5py

HEAP = b"GCOL\x01\0\0\0"  # signature, version and three reserved bytes
METADATA = 2**20  # bytes; HDF5 reads a heap's header with no more than that at once
OBJECT = 16  # bytes of an object's header: index, references, reserved, size


class DamagedHeapError(OSError):
    """A heap of texts contradicts itself."""


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading; close the result.

    Raises:
        OSError: the file is missing or not HDF5. Later, reading raises OSError at damaged texts.
    """
    source = _CheckedFile(path)
    try:
        return h5py.File(source, "r")
    except BaseException:
        source.close()
        raise


class _CheckedFile:
    """A read-only file for h5py's file-object driver."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size
        self._place = 0
        self._sound: set[int] = set()  # addresses of heaps that were checked

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + {0: 0, 1: self._place, 2: self._size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int) -> bytes:
        """Present because h5py recognises a file by it."""
        found = bytearray(size)
        self.readinto(found)
        return bytes(found)

    def readinto(self, target: Any) -> int:
        """Fill `target`; zeros beyond the end of the file."""
        view = memoryview(target).cast("B")
        done = 0
        while done < len(view) and (
            count := os.preadv(self._file.fileno(), [view[done:]], self._place + done)
        ):
            done += count
        view[done:] = bytes(len(view) - done)
        if done <= METADATA:
            self._check(bytes(view[:done]))
        self._place += len(view)
        return len(view)

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        self._file.close()

    def _check(self, found: bytes) -> None:
        """Check every heap whose header lies in, or reaches into, what is being read."""
        more = len(HEAP) - 1
        begin = max(0, self._place - more)
        before = os.pread(self._file.fileno(), self._place - begin, begin)
        after = os.pread(self._file.fileno(), more, self._place + len(found))
        whole, place = before + found + after, -1
        while (place := whole.find(HEAP, place + 1)) >= 0:
            at = begin + place
            if at not in self._sound:
                if not self._is_sound(at):
                    raise DamagedHeapError(f"its texts at byte {at:,} are damaged")
                self._sound.add(at)

    def _is_sound(self, at: int) -> bool:
        """Whether a heap's objects fill it exactly, one after the other."""
        head = os.pread(self._file.fileno(), OBJECT, at)
        size = int.from_bytes(head[len(HEAP) :], "little")
        if len(head) < OBJECT or not OBJECT <= size <= self._size - at:
            return False
        heap, place = os.pread(self._file.fileno(), size, at), OBJECT
        while size - place >= OBJECT:
            index, length = struct.unpack_from("<H6xQ", heap, place)
            if index == 0:  # the free space that ends a heap; its size includes its header
                return length == size - place
            place += OBJECT + -(-length // 8) * 8
        return place <= size
