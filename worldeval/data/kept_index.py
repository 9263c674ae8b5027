"""The index of a large dataset, kept in the user's cache so that it is not read again.

    <cache>/worldeval/index/<place and format>/heads.arrow  rows.arrow

Opening a dataset looks at every episode, and some formats at every video; training then reads the
numbers of every frame. From `MANY` episodes on, both are kept in Arrow files: the heads when the
dataset was opened, the rows once all of them were read in order. They are used as long as names,
sizes and times of all files of the dataset are the same, and read without copies. Frames and
latents come from the dataset itself, whose reader is opened when it is first needed.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from worldeval import __version__
from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.config import build
from worldeval.data.arrow import read_table, write_table
from worldeval.data.data_map import DataMap
from worldeval.data.finding import DataFinding
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.errors import UserError
from worldeval.files import plain, user_cache

MANY = 1000  # episodes from which an index is kept
FORMAT = f"1, worldeval {__version__}"  # other versions may read the same files otherwise
SETTLED = 2 * 10**9  # ns: files changed since then may change again without another time
HEADS, ROWS = "heads.arrow", "rows.arrow"
NUMBERS = {
    "actions": np.float32, "pose": np.float32, "times": np.float64, "flags": np.uint8,
    "task": np.int64,
}  # fmt: skip


class IndexedSource(Source):
    """A dataset with a kept index. Its reader is opened when frames or latents are asked for."""

    def __init__(
        self,
        folder: Path,
        mark: Mapping[str, str],
        heads: pa.Table,
        open_reader: Callable[["IndexedSource"], Source],
    ) -> None:
        facts = json.loads(heads.schema.metadata[b"facts"])
        self.spec = build(SourceSpec, facts["spec"], where=str(folder / HEADS))
        self.findings = [build(DataFinding, each, where=HEADS) for each in facts["findings"]]
        self.mapped = bool(facts["mapped"])
        columns = {name: heads[name].to_pylist() for name in heads.column_names}
        self._latents: list[bool] = columns.pop("latents")
        self.places: list[str] = columns.pop("place")
        columns["tasks"] = [tuple(each) for each in columns["tasks"]]
        names = tuple(columns)
        self.heads = [
            Head(**dict(zip(names, each, strict=True)))
            for each in zip(*columns.values(), strict=True)
        ]
        self._folder, self._mark, self._open = folder, mark, open_reader
        self._reader: Source | None = None
        self._rows = _KeptRows.read(folder / ROWS, mark, len(self.heads))
        self._gathered: list[Rows] = []

    @property
    def reader(self) -> Source:
        """The dataset's own reader."""
        if self._reader is None:
            self._reader = self._open(self)
        return self._reader

    def rows(self, index: int) -> Rows:
        if self._rows is not None:
            return self._rows[index]
        rows = self.reader.rows(index)
        if index == len(self._gathered):  # kept once all were read in order, as training does
            self._gathered.append(rows)
            if len(self._gathered) == len(self.heads):
                self._rows = _KeptRows.write(self._folder / ROWS, self._mark, self._gathered)
                self._gathered = []
        return rows

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        return self.reader.frames(index, view, rows)

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        return self.reader.column(index, key)

    def examine(self) -> list[DataFinding]:
        return self.reader.examine()

    def has_latents(self, index: int) -> bool:
        return self._latents[index]

    def latents(self, index: int) -> dict[str, Float32[Array, "t d h w"]]:
        return self.reader.latents(index)


def indexed(
    path: Path, kind: str, given: DataMap, reader: Any, opened: Callable[[], Source]
) -> Source:
    """Open a dataset with its kept index, or by `opened`, and then keep its index if it is large.

    Args:
        reader: the class of the reader. One that tells every episode's file (`places`) is opened
            by its `known` when frames are first asked for, and looks at no episode again.
    """
    known = hashlib.sha256(f"{kind}\0{path.resolve()}\0{given!r}".encode()).hexdigest()[:24]
    folder, now = user_cache() / "index" / known, time.time_ns()
    if not (folder / HEADS).is_file():
        source = opened()
        return source if len(source) < MANY else _keep(folder, stamp_of(path, now), source)
    stamp = stamp_of(path, now)
    table = None if stamp is None else _read(folder / HEADS, _mark(stamp))
    if stamp is None or table is None:  # the dataset changed
        return _keep(folder, stamp_of(path, now), opened())

    def again(own: IndexedSource) -> Source:
        if any(own.places):
            return reader.known(path, own.heads, own.spec, own.places)
        found = opened()
        if len(found.heads) != len(own.heads):
            raise UserError(f"{path} changed while it was used. Run the command again.")
        return found

    return IndexedSource(folder, _mark(stamp), table, again)


def stamp_of(path: Path, now: int) -> str | None:
    """Compute a digest of the names, sizes and times of all files of a dataset.

    None if a file changed shortly before the time `now` (ns), so that a further change might leave
    its time as it is, or after it, when it may have been read already; or if a folder is a link.
    """
    digest, newest = hashlib.sha256(FORMAT.encode()), 0
    queue = [path]
    while queue:
        folder = queue.pop()
        if not folder.is_dir():
            found = [(folder.name, folder.stat())]
        else:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
            if any(entry.is_symlink() and entry.is_dir() for entry in listed):
                return None
            queue += [Path(entry.path) for entry in listed if entry.is_dir()]
            found = [(str(Path(entry.path)), entry.stat()) for entry in listed if entry.is_file()]
        for name, facts in found:
            digest.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
            newest = max(newest, facts.st_mtime_ns)
    return None if newest > now - SETTLED else digest.hexdigest()


def _keep(folder: Path, stamp: str | None, source: Source) -> Source:
    """Keep the heads of an open dataset; the dataset itself if they cannot be told in Arrow."""
    if stamp is None:
        return source
    facts = {
        "spec": asdict(source.spec),
        "findings": [asdict(each) for each in source.findings],
        "mapped": source.mapped,
    }
    columns = {name: [getattr(head, name) for head in source.heads] for name in _HEAD}
    columns["latents"] = [source.has_latents(index) for index in range(len(source))]
    columns["place"] = getattr(source, "places", [""] * len(source))
    mark = _mark(stamp)
    metadata = {**mark, "facts": json.dumps(facts, default=plain)}
    more = {"latents": pa.bool_(), "place": pa.string()}
    table = pa.table(columns, schema=pa.schema(_HEAD | more, metadata))
    again = IndexedSource(folder, mark, table, lambda own: source)
    if again.spec != source.spec or again.heads != list(source.heads):
        return source
    _write(folder / HEADS, table)
    return again


_HEAD = {
    "id": pa.string(), "length": pa.int64(), "task": pa.string(), "success": pa.bool_(),
    "split": pa.string(), "source": pa.string(), "seed": pa.int64(),
    "tasks": pa.list_(pa.string()),
}  # fmt: skip


class _KeptRows:
    """The rows of all episodes, left in the file until they are used."""

    def __init__(self, table: pa.Table) -> None:
        self._values, self._ends = {}, {}
        for name in NUMBERS:
            column = table[name].chunk(0)
            self._values[name] = column.values.to_numpy(zero_copy_only=True)
            self._ends[name] = column.offsets.to_numpy()
        self._length = table["length"].to_numpy()

    def __getitem__(self, index: int) -> Rows:
        found = {}
        for name in NUMBERS:
            begin, end = self._ends[name][index : index + 2]
            values = self._values[name][begin:end]
            if name in ("actions", "pose"):
                found[name] = values.reshape(int(self._length[index]), -1)
            else:
                found[name] = values if len(values) else None
        return Rows(**found)

    @staticmethod
    def read(path: Path, mark: Mapping[str, str], count: int) -> "_KeptRows | None":
        table = _read(path, mark)
        return None if table is None or len(table) != count else _KeptRows(table)

    @staticmethod
    def write(path: Path, mark: Mapping[str, str], rows: Sequence[Rows]) -> "_KeptRows | None":
        columns: dict[str, Any] = {"length": np.array([len(each.pose) for each in rows], np.int64)}
        for name, kind in NUMBERS.items():
            parts = [getattr(each, name) for each in rows]
            flat = [np.empty(0, kind) if part is None else part.ravel() for part in parts]
            ends = np.cumsum([0, *map(len, flat)])
            columns[name] = pa.LargeListArray.from_arrays(ends, np.concatenate(flat).astype(kind))
        _write(path, pa.table(columns).replace_schema_metadata(mark))
        return _KeptRows.read(path, mark, len(rows))


def _mark(stamp: str) -> dict[str, str]:
    return {"stamp": stamp}


def _write(path: Path, table: pa.Table) -> None:
    try:
        write_table(path, table)
    except OSError:
        return  # a full or read-only cache only costs time


def _read(path: Path, mark: Mapping[str, str]) -> pa.Table | None:
    """Read a file of the index; None if it is of other files, or damaged."""
    try:
        table = read_table(path)
        found = table.schema.metadata or {}
    except (OSError, pa.ArrowException):
        return None
    same = all(found.get(name.encode()) == value.encode() for name, value in mark.items())
    return table if same else None
