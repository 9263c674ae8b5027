# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportReturnType=false
"""Collected episodes on disk: HDF5 shards of concatenated frames, read through memory maps.

A shard holds whole episodes of one origin and appears under its name only when complete, so an
interrupted collection continues where it stopped and folders of shards merge by copying files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from worldeval.axes import Array, Float32, Int, UInt8
from worldeval.errors import UserError
from worldeval.record import Episode
from worldeval.run import whole_file

UNKNOWN, FAILED, SUCCEEDED = -1, 0, 1
TEXT = h5py.string_dtype()
ACTION_NAMES, POSE_NAMES = "action_names", "pose_names"  # attributes, where dimensions have names
COLUMNS = ("id", "task", "source", "success", "seed", "length")


@dataclass(frozen=True, kw_only=True)
class ShardEpisode:
    """An episode with what a shard keeps beyond it: the simulator's success flag of every frame."""

    episode: Episode
    flags: UInt8[Array, " t"]  # 1 where the simulator says success at that frame
    seed: int  # of the simulator's reset


def write_shard(path: Path, items: Sequence[ShardEpisode]) -> None:
    """Write whole episodes to one new file."""
    first = items[0].episode
    lengths = np.array([len(item.episode) for item in items], np.int32)
    with whole_file(path) as draft, h5py.File(draft, "w") as file:
        file.attrs["fps"] = first.fps
        for view in first.frames:
            # Contiguous and uncompressed: a reader maps it into memory instead of decoding it.
            frames = np.concatenate([item.episode.frames[view] for item in items])
            file.create_dataset(f"frames/{view}", data=frames)
        file["actions"] = np.concatenate([item.episode.actions for item in items])
        file["pose"] = np.concatenate([item.episode.pose for item in items])
        file["flags"] = np.concatenate([item.flags for item in items])
        table = file.create_group("episodes")
        episodes = [item.episode for item in items]
        table["id"] = np.array([episode.id for episode in episodes], TEXT)
        table["task"] = np.array([episode.task for episode in episodes], TEXT)
        table["source"] = np.array([episode.source for episode in episodes], TEXT)
        table["success"] = np.array([code(episode.success) for episode in episodes], np.int8)
        table["seed"] = np.array([item.seed for item in items], np.int64)
        table["length"] = lengths


class Shards:
    """Every shard of one or more folders as one table of episodes over one axis of frames.

    `episodes` has a row per episode: id, task, source, success (-1 unknown, 0, 1), seed, length and
    `begin`, the row of its first frame in `actions`, `pose`, `flags` and `frames`.
    """

    def __init__(self, *folders: Path) -> None:
        found = [sorted(folder.glob("*.h5")) for folder in folders]
        self._paths = [path for paths in found for path in paths]
        if not self._paths:
            listed = ", ".join(str(folder) for folder in folders)
            raise UserError(f"No shard (*.h5) in {listed}. Collect first: worldeval data collect.")
        tables, self._maps, actions, pose, flags, rates = [], [], [], [], [], []
        for path in self._paths:
            with h5py.File(path) as file:
                tables.append(pd.DataFrame({key: _column(file, key) for key in COLUMNS}))
                self._maps.append(
                    {view: _map(path, file["frames"][view]) for view in file["frames"]}
                )
                actions.append(file["actions"][:])
                pose.append(file["pose"][:])
                flags.append(file["flags"][:])
                rates.append(float(file.attrs["fps"]))
                named = [tuple(map(str, file.attrs.get(n, ()))) for n in (ACTION_NAMES, POSE_NAMES)]
                self.action_names, self.pose_names = named
        widths = [(one.shape[1], other.shape[1]) for one, other in zip(actions, pose, strict=True)]
        self._refuse_unlike(widths, rates)
        self.fps = rates[0]
        self.actions: Float32[Array, "n a"] = np.concatenate(actions)
        self.pose: Float32[Array, "n p"] = np.concatenate(pose)
        self.flags: UInt8[Array, " n"] = np.concatenate(flags)
        self.episodes = pd.concat(tables, ignore_index=True)
        # Which of the folders an episode is of.
        owner = np.repeat(np.arange(len(found)), [len(paths) for paths in found])
        self.folder: Int[Array, " e"] = np.repeat(owner, [len(table) for table in tables])
        ends = self.episodes["length"].cumsum()
        self.episodes["begin"] = ends - self.episodes["length"]
        self._shard_begin = np.cumsum([0] + [len(part) for part in actions])
        if self.episodes["id"].duplicated().any():
            twice = self.episodes.loc[self.episodes["id"].duplicated(), "id"].iloc[0]
            raise UserError(f"Episode '{twice}' is in more than one shard; remove the copy.")

    def _refuse_unlike(self, widths: Sequence[tuple[int, int]], rates: Sequence[float]) -> None:
        """Shards are one table: the same views, numbers and rate in each."""
        for index, path in enumerate(self._paths):
            size = next(iter(self._maps[index].values())).shape[1:3]
            for what, one, first in (
                ("views", sorted(self._maps[index]), sorted(self._maps[0])),
                ("pixels of a view", tuple(size), self.size),
                ("numbers in an action and a pose", widths[index], widths[0]),
                ("frames a second", rates[index], rates[0]),
            ):
                if one != first:
                    raise UserError(
                        f"{path} and {self._paths[0]} cannot be read together: {what} are {one} "
                        f"and {first}. Convert one (worldeval data convert --to shards)."
                    )

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def views(self) -> tuple[str, ...]:
        return tuple(self._maps[0])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a view in pixels."""
        height, width = next(iter(self._maps[0].values())).shape[1:3]
        return height, width

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        return tuple(sorted(self.episodes["task"].unique()))

    @cached_property
    def task_of_row(self) -> Int[Array, " n"]:
        """Index into `tasks` for every frame row."""
        index = self.episodes["task"].map({task: i for i, task in enumerate(self.tasks)})
        return np.repeat(index.to_numpy(), self.episodes["length"])

    def frames(self, view: str, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
        """Frames of one view at global rows, in the order asked for."""
        height, width = self.size
        out = np.empty((len(rows), height, width, 3), np.uint8)
        shard = np.searchsorted(self._shard_begin, rows, side="right") - 1
        for index in np.unique(shard):
            here = shard == index
            out[here] = self._maps[index][view][rows[here] - self._shard_begin[index]]
        return out

    def rows(self, episode: int) -> slice:
        """The frame rows of one episode."""
        begin, length = self.episodes.loc[episode, ["begin", "length"]]
        return slice(int(begin), int(begin) + int(length))

    def episode(self, index: int) -> Episode:
        """One whole episode."""
        row, rows = self.episodes.loc[index], self.rows(index)
        every = np.arange(rows.start, rows.stop)
        return Episode(
            id=row["id"],
            frames={view: self.frames(view, every) for view in self.views},
            actions=self.actions[rows],
            pose=self.pose[rows],
            task=row["task"],
            success=None if row["success"] == UNKNOWN else bool(row["success"]),
            fps=self.fps,
            source=row["source"],
            info={"seed": int(row["seed"])},
        )

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(len(self)))

    def held_out(self, share: float, *, seed: int) -> tuple[Int[Array, " e"], Int[Array, " f"]]:
        """Indices of training and held-out episodes, split by episode within each task."""
        rng = np.random.default_rng(seed)
        out = [
            rng.choice(group.index, max(1, round(share * len(group))), replace=False)
            for _, group in self.episodes.groupby("task")
        ]
        held = np.sort(np.concatenate(out))
        return np.setdiff1d(np.arange(len(self)), held), held


def code(success: bool | None) -> int:
    """How a shard says it: -1 unknown, 0 failed, 1 succeeded."""
    return UNKNOWN if success is None else int(success)


def _column(file: h5py.File, key: str) -> Array:
    column = file["episodes"][key]
    return column.asstr()[:] if h5py.check_string_dtype(column.dtype) else column[:]


def _map(path: Path, dataset: h5py.Dataset) -> Mapping[str, Array] | Array:
    offset = dataset.id.get_offset()
    if offset is None:
        return dataset[:]  # written by another tool, in chunks
    return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
