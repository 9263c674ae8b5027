"""Is what another library wrote on the disk as a whole? Looked at before a file takes its name.

A look at sizes, frames and footers costs little beside the writing, and finds what a full disk or
a broken connection to one leaves behind. Values are compared with their checksums when they are
read (checked_weights.py, sealed_hdf5.py).
"""

import json
from collections.abc import Iterator
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
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as file:
            packets = (packet for packet in file.demux(video=0) if packet.size)
            found = sum(not packet.is_corrupt for packet in packets)
    except (FFmpegError, OSError, IndexError, ValueError) as error:
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
        ends = [one["data_offsets"][1] for one in tensors_of(path).values()]
        size = path.stat().st_size
        with path.open("rb") as file:
            wanted = 8 + int.from_bytes(file.read(8), "little") + max(ends, default=0)
    except (OSError, ValueError) as error:
        raise _broken(path, str(error)) from error
    if size != wanted:
        raise _broken(path, f"it has {size:,} bytes of {wanted:,}")


def tensors_of(path: Path) -> dict[str, dict[str, Any]]:
    """The header of a safetensors file: of every tensor its dtype, shape and data_offsets.

    Raises:
        ValueError: the file has none.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("its header is longer than the file")
        try:
            header = json.loads(file.read(length))
        except RecursionError as error:
            raise ValueError("its header is nested too deeply") from error
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    header.pop("__metadata__", None)
    for name, one in header.items():
        sound = isinstance(one, dict) and all(
            isinstance(one.get(key), list) and all(type(n) is int and n >= 0 for n in one[key])
            for key in ("shape", "data_offsets")
        )
        if not sound or len(one["data_offsets"]) != 2:
            raise ValueError(f"its header does not describe {name}")
    return header


def _broken(path: Path, problem: str) -> UserError:
    return UserError(
        f"{path} was not written as a whole ({problem}). Look whether the disk is full or failing, "
        "and give the same command again."
    )
