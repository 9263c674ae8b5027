# h5py types every item as a group, dataset or datatype.
# pyright: reportArgumentType=false
"""Shards: HDF5 files of whole episodes, with concatenated frames read through memory maps.

    <file>.h5: attributes fps, action_names, pose_names
        column_meanings (1 text, optional)
        frames/<view> (n h w 3 uint8)  actions (n a)  pose (n p)  flags (n): success at a frame
        episodes/ id, task, source, success (-1 unknown, 0, 1), seed, length, split

A folder of shards is one dataset, so datasets are merged by copying files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from worldeval.axes import Array, Float32, Int, UInt8
from worldeval.data.files import inside, rate
from worldeval.data.finding import DataError, DataFinding
from worldeval.data.formats import hdf5
from worldeval.data.formats.shards.layout import ACTION_NAMES, POSE_NAMES
from worldeval.data.kept_meaning import COLUMNS, read_meaning
from worldeval.data.names import numbered
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.split import TRAINING
from worldeval.data.table import UNKNOWN
from worldeval.hdf5_heaps import open_hdf5
from worldeval.sealed_hdf5 import Seal


@dataclass(frozen=True, kw_only=True)
class _Frames:
    """Frames of one view in one file."""

    path: Path
    name: str
    size: tuple[int, int]
    map: UInt8[Array, "n h w 3"] | None  # None: stored in chunks by another tool
    seal: Seal

    def read(self, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
        if self.map is not None:
            try:
                self.seal.compare(self.map, rows)
            except ValueError as error:
                raise DataError(self.path, self.name, f"{error}.") from error
            return self.map[rows]
        with hdf5.opened(self.path) as file:
            return hdf5.images(hdf5.dataset(file, self.name, self.path), self.path, rows)


@dataclass(frozen=True, kw_only=True)
class _Shard:
    """One checked file."""

    path: Path
    spec: SourceSpec
    frames: Mapping[str, _Frames]
    actions: Float32[Array, "n a"]
    pose: Float32[Array, "n p"]
    flags: UInt8[Array, " n"]
    heads: list[Head]


class ShardsSource(Source):
    """A folder of shards made by `worldeval data collect` or `data convert --to shards`."""

    mapped = True

    def __init__(self, path: Path) -> None:
        names = _files(path)
        if not names:
            raise DataError(
                path,
                "file",
                "there is no shard (*.h5).",
                "Create one with `worldeval data collect`.",
            )
        files = [inside(path, name, owner=path / name, field="file") for name in names]
        self._shards = [_look(file, path) for file in files]
        first = self._shards[0]
        for other in self._shards[1:]:
            if other.spec != first.spec:
                raise DataError(
                    other.path,
                    "shape",
                    f"{_shape(other.spec)}; {first.path.name} has {_shape(first.spec)}.",
                    "Convert one of them with `worldeval data convert --to shards`.",
                )
        self.spec = first.spec
        self.findings: list[DataFinding] = []
        self.heads = []
        self._places: list[tuple[_Shard, int]] = []  # file and first row of every episode
        seen: dict[str, Path] = {}
        for shard in self._shards:
            begin = 0
            for head in shard.heads:
                if head.id in seen:
                    raise DataError(
                        shard.path,
                        "episodes/id",
                        f"episode '{head.id}' is also in {seen[head.id].name}.",
                        "Remove the copy.",
                    )
                seen[head.id] = shard.path
                self.heads.append(head)
                self._places.append((shard, begin))
                begin += head.length

    @staticmethod
    def detect(path: Path) -> bool:
        """Accept a folder that contains a shard in our layout."""
        first = next(iter(_files(path)), None)
        if first is None or not h5py.is_hdf5(path / first):
            return False
        try:
            with open_hdf5(path / first) as file:
                return "episodes" in file or "fps" in file.attrs
        except (OSError, RuntimeError):  # truncated; reported when it is read
            return True

    def rows(self, index: int) -> Rows:
        shard, begin = self._places[index]
        own = slice(begin, begin + self.heads[index].length)
        known = self.heads[index].success is not None
        return Rows(
            actions=shard.actions[own].copy(),  # the caller's to change
            pose=shard.pose[own].copy(),
            flags=shard.flags[own].copy() if known else None,
        )

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        shard, begin = self._places[index]
        wanted = np.arange(self.heads[index].length) if rows is None else np.asarray(rows)
        return shard.frames[view].read(begin + wanted)


def _files(path: Path) -> list[str]:
    """List the names of the shards in a folder, without hidden files (drafts, macOS)."""
    if not path.is_dir():
        return []
    return sorted(file.name for file in path.glob("*.h5") if not file.name.startswith("."))


def _shape(spec: SourceSpec) -> str:
    views = ", ".join(f"{view} {h}x{w}" for view, (h, w) in spec.views.items())
    return (
        f"views {views}, {len(spec.action_names)} action dimensions, {len(spec.pose_names)} pose "
        f"dimensions, {spec.fps:g} fps"
    )


def _look(path: Path, folder: Path) -> _Shard:
    """Read everything except the frames of a file; raise DataError if it is invalid."""
    with hdf5.opened(path) as file:
        fps = rate(hdf5.attribute(file, "fps", path), path)
        actions, pose = (hdf5.table(file, name, path) for name in ("actions", "pose"))
        flags = hdf5.table(file, "flags", path)
        parent = hdf5.group(file, "frames", path)
        frames = {str(view): _frames(parent, str(view), path) for view in parent}
        heads = _heads(hdf5.group(file, "episodes", path), path)
        names = [
            _names(file, attribute, table.shape[1], path) or numbered(what, table.shape[1])
            for attribute, table, what in (
                (ACTION_NAMES, actions, "action"),
                (POSE_NAMES, pose, "pose"),
            )
        ]
        lengths = {view: len(parent[view]) for view in frames}
        kept = "".join(hdf5.texts(file, COLUMNS, path)) if COLUMNS in file else ""
        meaning = read_meaning(kept, path, action=names[0], pose=names[1])
    if not frames:
        raise DataError(path, "frames", "it contains no views.")
    wanted = sum(head.length for head in heads)
    tables = {"actions": actions, "pose": pose, "flags": flags}
    for name, count in {**{key: len(table) for key, table in tables.items()}, **lengths}.items():
        if count != wanted:
            raise DataError(
                path, name, f"it has {count} rows, but the episodes have {wanted} frames."
            )
    if flags.shape[1] != 1 or not np.isin(flags, (0, 1)).all():
        raise DataError(path, "flags", "success of a frame must be a single value, 0 or 1.")
    return _Shard(
        path=path,
        spec=SourceSpec(
            format="worldeval-shards",
            path=folder,
            fps=fps,
            views={view: each.size for view, each in frames.items()},
            action_names=names[0],
            pose_names=names[1],
            meaning=meaning,
        ),
        frames=frames,
        actions=actions,
        pose=pose,
        flags=flags[:, 0].astype(np.uint8),
        heads=heads,
    )


def _frames(parent: h5py.Group, view: str, path: Path) -> _Frames:
    found = hdf5.dataset(parent, view, path)
    if not hdf5.is_images(found):
        raise DataError(
            path, str(found.name), f"it is {found.dtype} {found.shape}, not frames (t, h, w, 3)."
        )
    offset, mapped = found.id.get_offset(), None
    if offset is not None and len(found):
        if offset + found.nbytes > path.stat().st_size:
            raise DataError(path, str(found.name), "it states more frames than the file contains.")
        # A plain array over the map, because memmap's own class makes small reads slow.
        mapped = np.asarray(np.memmap(path, np.uint8, "r", offset, found.shape))
    try:
        seal = Seal(found)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise DataError(path, str(found.name), f"it cannot be read ({error}).") from error
    height, width = found.shape[1:3]
    return _Frames(path=path, name=str(found.name), size=(height, width), map=mapped, seal=seal)


def _heads(table: h5py.Group, path: Path) -> list[Head]:
    ids, tasks, drivers = (hdf5.texts(table, name, path) for name in ("id", "task", "source"))
    success, seeds, lengths = (
        hdf5.whole_numbers(table, name, path) for name in ("success", "seed", "length")
    )
    splits = hdf5.texts(table, "split", path) if "split" in table else [TRAINING] * len(ids)
    columns = (tasks, drivers, success, seeds, lengths, splits)
    if not ids or any(len(column) != len(ids) for column in columns):
        raise DataError(path, "episodes", "its columns are empty, or have different lengths.")
    if (lengths < 1).any():
        raise DataError(path, "episodes/length", f"an episode has {lengths.min()} frames.")
    if not np.isin(success, (UNKNOWN, 0, 1)).all():
        raise DataError(path, "episodes/success", "success must be -1 (unknown), 0 or 1.")
    return [
        Head(
            id=ids[i],
            length=int(lengths[i]),
            task=tasks[i],
            success=None if success[i] == UNKNOWN else bool(success[i]),
            split=splits[i],
            source=drivers[i],
            seed=int(seeds[i]),
        )
        for i in range(len(ids))
    ]


def _names(file: h5py.File, attribute: str, count: int, path: Path) -> tuple[str, ...]:
    """Return the names of dimensions; empty if they have none."""
    given = file.attrs.get(attribute, ())
    if not all(isinstance(name, str | bytes) for name in np.atleast_1d(given)):
        raise DataError(path, attribute, "it is not a list of names.")
    names = tuple(hdf5.text(name) for name in np.atleast_1d(given))
    if len(set(names)) < len(names):
        raise DataError(path, attribute, f"two columns have the same name ({', '.join(names)}).")
    if names and len(names) != count:
        raise DataError(path, attribute, f"there are {len(names)} names for {count} numbers.")
    return names
