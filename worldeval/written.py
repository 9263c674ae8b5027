"""Is what another library wrote on the disk as a whole? Looked at before a file takes its name.

A look at sizes, frames and footers costs little beside the writing, and finds what a full disk or
a broken connection to one leaves behind. Values are compared with their checksums when they are
read (checked_weights.py, sealed_hdf5.py).
"""

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldeval.errors import UserError


def check_parquet(path: Path, rows: int) -> None:
    """Refuse a parquet file without a readable footer, or with another number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise _broken(path, str(error)) from error
    if found.num_rows != rows:
        raise _broken(path, f"it holds {found.num_rows} rows of {rows}")


def check_video(path: Path, frames: int) -> None:
    """Refuse a video whose packets, read but not decoded, are not one for every frame."""
    import av

    try:
        with av.open(str(path)) as file:
            packets = (packet for packet in file.demux(video=0) if packet.size)
            found = sum(not packet.is_corrupt for packet in packets)
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        raise _broken(path, str(error)) from error
    if found != frames:
        raise _broken(path, f"it holds {found} frames of {frames}")


@contextmanager
def safetensors_written(path: Path) -> Iterator[None]:
    """Write a safetensors file inside; what the disk refuses is one clear error.

    Raises:
        UserError: the file is not whole.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise _broken(path, str(error)) from error
    check_safetensors(path)


def check_safetensors(path: Path) -> None:
    """Refuse a file that does not end where its header says that its last tensor does."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header: Mapping[str, Any] = json.loads(file.read(min(length, size)))
        ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, str(error)) from error
    wanted = 8 + length + max(ends, default=0)
    if size != wanted:
        raise _broken(path, f"it has {size:,} bytes of {wanted:,}")


def _broken(path: Path, problem: str) -> UserError:
    return UserError(
        f"{path} was not written as a whole ({problem}). Look whether the disk is full or failing, "
        "and give the same command again."
    )
