"""Where latents are kept: row files (ours), a memory map of them, zarr v3 shards, and Lance.

One synthetic set of DROID's shape (three views of 4 x 24 x 40 in half precision, 23 kB a frame) is
written to each store and read as training reads it: windows of 16 consecutive frames at random
places, and everything in order. `cold` reads come after the files were dropped from the page cache,
`warm` reads find them there. Every store gives the same bytes, which is asserted.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.data.row_files import RowFiles, open_rows, write_rows

FRAME = (3, 4, 24, 40)
FRAME_BYTES = int(np.prod(FRAME)) * 2
FILE = 16384  # frames
WINDOW, BATCH = 16, 8  # frames of a window, windows of a batch
ORDERED = 512  # frames read at a time when all are read in order

Read = Callable[[np.ndarray], np.ndarray]  # ascending rows -> frames


@dataclass(frozen=True, kw_only=True)
class Store:
    """A way to keep frames: how it is written, and how it is opened for reading."""

    name: str
    checks: str  # what it compares with a checksum when it reads
    write: Callable[[Path, Iterator[np.ndarray], int], None]
    open: Callable[[Path], Read]


def parts(count: int, seed: int) -> Iterator[np.ndarray]:
    """Frames of random bits in [1, 2), which no store can compress, a file at a time."""
    rng = np.random.default_rng(seed)
    for begin in range(0, count, FILE):
        size = min(FILE, count - begin) * FRAME_BYTES
        bits = np.frombuffer(rng.bytes(size), np.uint16)
        yield (bits & 0x3FF | 0x3C00).view(np.float16).reshape(-1, *FRAME)


def write_ours(folder: Path, frames: Iterator[np.ndarray], count: int) -> None:
    for number, part in enumerate(frames):
        write_rows(folder / f"{number:05d}.safetensors", "latents", part)


def open_ours(folder: Path) -> Read:
    files = [open_rows(path, "latents", np.float16) for path in sorted(folder.iterdir())]
    return RowFiles(files).__getitem__


def open_mapped(folder: Path) -> Read:
    """The former store: memory maps of the same files, without checksums."""
    maps = []
    for path in sorted(folder.iterdir()):
        file = open_rows(path, "latents", np.float16)
        maps.append(np.asarray(np.memmap(path, np.float16, "r", file.begin, file.shape)))
    ends = np.cumsum([len(each) for each in maps])

    def read(rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), *FRAME), np.float16)
        cuts = [0, *np.searchsorted(rows, ends).tolist()]
        for each, end, first, last in zip(maps, ends, cuts[:-1], cuts[1:], strict=True):
            own = rows[first:last] - (end - len(each))
            np.take(each, own, axis=0, out=out[first:last], mode="clip")
        return out

    return read


def write_zarr(chunk: int) -> Callable[[Path, Iterator[np.ndarray], int], None]:
    def write(folder: Path, frames: Iterator[np.ndarray], count: int) -> None:
        import zarr
        from zarr.codecs import Crc32cCodec

        array = zarr.create_array(
            str(folder / "latents.zarr"),
            shape=(count, *FRAME),
            chunks=(chunk, *FRAME),
            shards=(FILE, *FRAME),
            dtype="float16",
            compressors=[Crc32cCodec()],
        )
        for number, part in enumerate(frames):
            array[number * FILE : number * FILE + len(part)] = part

    return write


def open_zarr(folder: Path) -> Read:
    import zarr

    array: Any = zarr.open_array(str(folder / "latents.zarr"), mode="r")

    def read(rows: np.ndarray) -> np.ndarray:
        if rows[-1] - rows[0] + 1 == len(rows):
            return array[int(rows[0]) : int(rows[-1]) + 1]
        return array.oindex[rows]

    return read


def write_lance(folder: Path, frames: Iterator[np.ndarray], count: int) -> None:
    import lance  # pyright: ignore[reportMissingImports]
    import pyarrow as pa

    schema = pa.schema([("latents", pa.binary(FRAME_BYTES))])

    def batches() -> Iterator[Any]:
        for part in frames:
            flat = pa.py_buffer(np.ascontiguousarray(part))
            column = pa.FixedSizeBinaryArray.from_buffers(schema[0].type, len(part), [None, flat])
            yield pa.record_batch([column], schema=schema)

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    lance.write_dataset(reader, str(folder / "latents.lance"), max_rows_per_file=FILE)


def open_lance(folder: Path) -> Read:
    import lance  # pyright: ignore[reportMissingImports]

    dataset = lance.dataset(str(folder / "latents.lance"))

    def read(rows: np.ndarray) -> np.ndarray:
        column = dataset.take(rows.tolist(), columns=["latents"])["latents"].combine_chunks()
        flat = np.frombuffer(column.buffers()[1], np.uint8)
        begin = column.offset * FRAME_BYTES
        return flat[begin : begin + len(rows) * FRAME_BYTES].view(np.float16).reshape(-1, *FRAME)

    return read


def stores() -> list[Store]:
    """The stores whose packages are installed."""
    found = [
        Store(name="row files", checks="every frame, once", write=write_ours, open=open_ours),
        Store(name="memory map", checks="nothing", write=write_ours, open=open_mapped),
    ]
    with suppress(ImportError):
        import zarr  # noqa: F401

        for chunk in (1, 16):
            name = f"zarr v3, {chunk} frames a chunk"
            checks = "every chunk, every time"
            found.append(Store(name=name, checks=checks, write=write_zarr(chunk), open=open_zarr))
    with suppress(ImportError):
        import lance  # noqa: F401  # pyright: ignore[reportMissingImports]

        found.append(Store(name="Lance", checks="nothing", write=write_lance, open=open_lance))
    return found


def compare(place: Path, *, gib: float, batches: int, seed: int) -> dict[str, Any]:
    """Write and read the set in every store; returns rates in MB/s and windows per second."""
    count = int(gib * 2**30 / FRAME_BYTES)
    rng = np.random.default_rng(seed)
    begins = rng.integers(0, count - WINDOW, (3, batches, BATCH))
    rows = [[np.unique(b[:, None] + np.arange(WINDOW)) for b in each] for each in begins]
    out, digests = [], set()
    for store in stores():
        folder = place / store.name.replace(" ", "-").replace(",", "")
        folder.mkdir(parents=True)
        begin = time.perf_counter()
        store.write(folder, parts(count, seed), count)
        _settle(folder)
        wrote = time.perf_counter() - begin
        begin = time.perf_counter()
        read = store.open(folder)
        read(np.arange(1))
        row = {"store": store.name, "checks": store.checks, "write_s": wrote,
               "open_s": time.perf_counter() - begin, "bytes": _size(folder)}  # fmt: skip
        for name, wanted in (("cold", rows[0]), ("warm_up", rows[1]), ("warm", rows[1])):
            if name == "cold":
                _drop(folder)
            row |= {f"{name}_{key}": value for key, value in _windows(read, wanted).items()}
        row = {key: value for key, value in row.items() if not key.startswith("warm_up")}
        for name in ("cold", "warm"):
            if name == "cold":
                _drop(folder)
            row[f"{name}_ordered_mb_per_s"] = _ordered(read, count)
        digests.add(read(rows[2][0]).tobytes())
        out.append({key: _short(value) for key, value in row.items()})
        print(out[-1], flush=True)
        del read
        shutil.rmtree(folder)
    assert len(digests) == 1, "the stores do not give the same frames"
    return {"frames": count, "frame_bytes": FRAME_BYTES, "window": WINDOW, "batch": BATCH,
            "batches": batches, "rows": out}  # fmt: skip


def _windows(read: Read, wanted: list[np.ndarray]) -> dict[str, float]:
    begin, cpu = time.perf_counter(), time.process_time()
    size = sum(read(each).nbytes for each in wanted)
    wall, spent = time.perf_counter() - begin, time.process_time() - cpu
    return {"windows_per_s": BATCH * len(wanted) / wall, "mb_per_s": size / wall / 1e6,
            "cpu_ms_per_batch": 1e3 * spent / len(wanted)}  # fmt: skip


def _ordered(read: Read, count: int) -> float:
    begin = time.perf_counter()
    for first in range(0, count, ORDERED):
        read(np.arange(first, min(first + ORDERED, count)))
    return count * FRAME_BYTES / (time.perf_counter() - begin) / 1e6


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _settle(folder: Path) -> None:
    for path in _files(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _drop(folder: Path) -> None:
    """Ask the system to forget what it holds of these files."""
    for path in _files(folder):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
