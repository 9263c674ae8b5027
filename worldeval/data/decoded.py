"""Frames of videos and images, decoded once for training with random access."""

import shutil
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float32, Int, UInt8
from worldeval.data.source import Rows, Source
from worldeval.errors import UserError
from worldeval.files import whole_file


class DecodedSource(Source):
    """A source whose frames are read from memory maps."""

    mapped = True

    def __init__(self, source: Source, frames: dict[str, UInt8[Array, "n h w 3"]]) -> None:
        self.source, self._frames = source, frames
        self.spec, self.heads, self.findings = source.spec, source.heads, source.findings
        self._begin = np.cumsum([0, *(head.length for head in source.heads)])

    def rows(self, index: int) -> Rows:
        return self.source.rows(index)

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        wanted = np.arange(self.heads[index].length) if rows is None else np.asarray(rows)
        return self._frames[view][self._begin[index] + wanted]

    def has_latents(self, index: int) -> bool:
        return self.source.has_latents(index)

    def latents(self, index: int) -> dict[str, Float32[Array, "t d h w"]]:
        return self.source.latents(index)


def decoded(source: Source, folder: Path, name: str, *, write: bool = True) -> Source:
    """Return `source` if its frames are already mapped, else decode every frame into `folder`.

    `name` identifies what is decoded: views already stored under it are not decoded again. If
    there are several processes, only one of them writes.

    Raises:
        UserError: the frames do not fit on the disk.
    """
    if source.mapped:
        return source
    count, maps = sum(head.length for head in source.heads), {}
    for view, size in source.spec.views.items():
        path, shape = folder / f"{name}-{view.replace('/', '-')}.npy", (count, *size, 3)
        if write and not path.is_file():
            _refuse_full(folder, int(np.prod(shape)), source)
            with whole_file(path) as draft:
                out = np.lib.format.open_memmap(draft, "w+", np.uint8, shape)
                begin = 0
                for index in range(len(source)):
                    for block in source.blocks(index, view):
                        out[begin : begin + len(block)] = block
                        begin += len(block)
                out.flush()
                del out
        maps[view] = path
    # If another process writes, these are the views written so far; reopened when it is done.
    there = {view: path for view, path in maps.items() if path.is_file()}
    return DecodedSource(
        source, {view: np.asarray(np.load(path, mmap_mode="r")) for view, path in there.items()}
    )


def _refuse_full(folder: Path, size: int, source: Source) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(
            f"To train a tokenizer, the frames of {source.spec.path} are decoded once into "
            f"{folder}. This needs {size / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free. "
            "Reduce the frame size with --set size=[HEIGHT,WIDTH], or give another --out."
        )
