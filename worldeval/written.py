"""Check that files written by other libraries are complete, before they get their final names.

Checking sizes, frames and footers is cheap, and finds what a full disk or a lost connection to
a disk leaves behind. Values are compared with their checksums when they are
read (checked_weights.py, sealed_hdf5.py).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldeval.errors import UserError


def check_parquet(path: Path, rows: int) -> None:
    """Refuse a parquet file without a readable footer, or with a wrong number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise _broken(path, str(error)) from error
    if found.num_rows != rows:
        raise _broken(path, f"it contains {found.num_rows} of {rows} rows")


def check_video(path: Path, frames: int) -> None:
    """Refuse a video that does not have one packet per frame; nothing is decoded."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as file:
            packets = (packet for packet in file.demux(video=0) if packet.size)
            found = sum(not packet.is_corrupt for packet in packets)
    except (FFmpegError, OSError, IndexError, ValueError) as error:
        raise _broken(path, str(error)) from error
    if found != frames:
        raise _broken(path, f"it contains {found} of {frames} frames")


@contextmanager
def safetensors_written(path: Path) -> Iterator[None]:
    """Write a safetensors file inside the context; errors of the disk become one clear error.

    Raises:
        UserError: the file is incomplete.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise _broken(path, str(error)) from error
    check_safetensors(path)


def check_safetensors(path: Path) -> None:
    """Refuse a file that does not end with the last tensor listed in its header."""
    try:
        ends = [one["data_offsets"][1] for one in tensors_of(path).values()]
        size = path.stat().st_size
        with path.open("rb") as file:
            wanted = 8 + int.from_bytes(file.read(8), "little") + max(ends, default=0)
    except (OSError, ValueError) as error:
        raise _broken(path, str(error)) from error
    if size != wanted:
        raise _broken(path, f"it has {size:,} of {wanted:,} bytes")


def tensors_of(path: Path) -> dict[str, dict[str, Any]]:
    """Read a safetensors file's header: dtype, shape and data_offsets of every tensor.

    Raises:
        ValueError: the file has no valid header.
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
        raise ValueError("its header is not a JSON object")
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
        f"{path} was not written completely ({problem}). Check whether the disk is full or "
        "failing, then run the same command again."
    )
