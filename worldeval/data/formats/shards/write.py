# h5py types every item as a group, dataset or datatype.
# pyright: reportArgumentType=false, reportIndexIssue=false, reportAttributeAccessIssue=false, reportReturnType=false
"""Conversion of any dataset to shards: uncompressed frames that training maps into memory.

A frame takes height x width x 3 bytes per view, so reduce the frame size first (`--size`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from worldeval.axes import Array, UInt8
from worldeval.data.formats.shards.layout import ACTION_NAMES, POSE_NAMES, TEXT
from worldeval.data.kept_meaning import COLUMNS, write_meaning
from worldeval.data.source import Head, Rows
from worldeval.data.table import code
from worldeval.data.writer import Shape, Value, Writer
from worldeval.errors import UserError
from worldeval.hdf5_heaps import open_hdf5
from worldeval.sealed_hdf5 import sealed_hdf5

SHARD_MB = 256  # size of frames after which the next file begins
BLOCK = 256  # frames copied at a time


class ShardsWriter(Writer):
    """Writer of a folder of HDF5 shards, as `data collect` makes and `worldeval train` reads."""

    def __init__(self, out: Path, shape: Shape, *, origin: str = "", fresh: bool = False) -> None:
        sizes = set(map(tuple, shape.views.values()))
        if len(sizes) != 1:
            found = ", ".join(f"{view} {h}x{w}" for view, (h, w) in shape.views.items())
            raise UserError(
                f"All views in shards must have the same size, but they are {found}. Set one "
                "with --size."
            )
        described = {"format": "shards", **asdict(shape)}
        super().__init__(out, shape, description=described, origin=origin, fresh=fresh)

    def _stage(
        self,
        folder: Path,
        head: Head,
        rows: Rows,
        frames: Mapping[str, Iterable[UInt8[Array, "n h w 3"]]],
        columns: Mapping[str, Value],
    ) -> None:
        last = np.arange(head.length) == head.length - 1
        with sealed_hdf5(folder / "episode.h5") as file:
            for view in self.shape.views:
                self._frames(file, view, head.length, frames[view])
            file["actions"], file["pose"] = rows.actions, rows.pose
            ends = (last & bool(head.success)).astype(np.uint8)
            file["flags"] = ends if rows.flags is None else rows.flags
            for name in ("id", "task", "source", "split"):
                file.attrs[name] = getattr(head, name)
            if head.seed is not None:
                file.attrs["seed"] = head.seed
            file.attrs["success"], file.attrs["length"] = code(head.success), head.length

    def _assemble(self, staged: list[Path], draft: Path) -> None:
        draft.mkdir()
        parts = [folder / "episode.h5" for folder in staged]
        seen: set[str] = set()
        begin = 0
        for number, group in enumerate(_groups(parts)):
            with sealed_hdf5(draft / f"{number:05d}.h5") as file:
                self._join(file, group, begin, seen)
            begin += len(group)

    def _join(self, file: h5py.File, parts: Sequence[Path], begin: int, seen: set[str]) -> None:
        facts = []
        for path in parts:
            with open_hdf5(path) as part:
                facts.append(dict(part.attrs))
            if facts[-1]["id"] in seen:
                raise UserError(
                    f"Two episodes are called '{facts[-1]['id']}', but names in shards must be "
                    "unique. Rename one of them."
                )
            seen.add(facts[-1]["id"])
        rows = sum(int(fact["length"]) for fact in facts)
        file.attrs["fps"] = self.shape.fps
        file.attrs[ACTION_NAMES] = list(self.shape.action_names)
        file.attrs[POSE_NAMES] = list(self.shape.pose_names)
        meaning = write_meaning(self.shape.meaning)
        if meaning:
            file[COLUMNS] = np.array([meaning], TEXT)
        for view in self.shape.views:
            blocks = (block for path in parts for block in _blocks(path, view))
            self._frames(file, view, rows, blocks)
        for name in ("actions", "pose", "flags"):
            file[name] = np.concatenate([_read(path, name) for path in parts])
        table = file.create_group("episodes")
        for name in ("id", "task", "source", "split"):
            table[name] = np.array([fact[name] for fact in facts], TEXT)
        table["success"] = np.array([fact["success"] for fact in facts], np.int8)
        table["length"] = np.array([fact["length"] for fact in facts], np.int32)
        # If no simulator was reset, the episode's number is used as the seed.
        seeds = [int(fact.get("seed", begin + place)) for place, fact in enumerate(facts)]
        table["seed"] = np.array(seeds, np.int64)

    def _frames(
        self,
        file: h5py.File,
        view: str,
        rows: int,
        blocks: Iterable[UInt8[Array, "n h w 3"]],
    ) -> None:
        """Write frames contiguous and uncompressed, one block at a time."""
        kept = file.create_dataset(f"frames/{view}", (rows, *self.shape.views[view], 3), np.uint8)
        begin = 0
        for block in blocks:
            kept[begin : begin + len(block)] = block
            begin += len(block)


def _groups(parts: Sequence[Path]) -> Iterator[list[Path]]:
    """Group episodes in order, as many per file as fit."""
    group: list[Path] = []
    size = 0
    for path in parts:
        more = path.stat().st_size
        if group and size + more > SHARD_MB * 2**20:
            yield group
            group, size = [], 0
        group.append(path)
        size += more
    yield group


def _blocks(path: Path, view: str) -> Iterator[UInt8[Array, "n h w 3"]]:
    with open_hdf5(path) as file:
        frames = file[f"frames/{view}"]
        for begin in range(0, len(frames), BLOCK):
            yield frames[begin : begin + BLOCK]


def _read(path: Path, name: str) -> Array:
    with open_hdf5(path) as file:
        return file[name][()]
