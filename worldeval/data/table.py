"""Episodes of one or more datasets as one table along a single axis of frames.

Numbers of all frames are in memory; images are read on demand.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.axes import Array, Bool, Float32, Int, UInt8
from worldeval.data.names import numbered
from worldeval.data.source import Head, Rows, Source
from worldeval.data.weighted import Weighted
from worldeval.errors import UserError
from worldeval.record import Episode

UNKNOWN, FAILED, SUCCEEDED = -1, 0, 1


class RecordedEpisodes:
    """All episodes of `sources`, concatenated, with the views of the first source.

    `episodes` has a row per episode: id, task, source (who controlled the robot), success (-1
    unknown, 0, 1), seed (-1 unknown), length and `begin`, the row of its first frame in `actions`,
    `pose` and `flags`.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        """
        Raises:
            UserError: the sources do not describe the same robot, or one of them lacks actions or
                episodes.
            DataError: the numbers of an episode cannot be read or are not finite.
        """
        self.sources = tuple(sources)
        first = self.sources[0].spec
        for other in self.sources:
            _refuse_unlike(self.sources[0], other)
        self.views = tuple(first.views)
        self.fps = first.fps
        self.space, self.pose_space = first.space, first.pose_space
        heads = [head for source in self.sources for head in source.heads]
        self.heads = tuple(heads)
        counts = [len(source) for source in self.sources]
        self.part: Int[Array, " e"] = np.repeat(np.arange(len(counts)), counts)  # which source
        self._first = np.cumsum([0, *counts[:-1]])  # first episode of each source
        rows = [source.rows(index) for source in self.sources for index in range(len(source))]
        self.actions: Float32[Array, "n a"] = np.concatenate([row.actions for row in rows])
        self.pose: Float32[Array, "n p"] = np.concatenate([row.pose for row in rows])
        pairs = zip(heads, rows, strict=True)
        # Success at each frame; all 0 if unknown.
        self.flags: UInt8[Array, " n"] = np.concatenate([_flags(*pair) for pair in pairs])
        # Whether success is known per frame, or only for the whole episode.
        self.timed: Bool[Array, " e"] = np.array([row.flags is not None for row in rows])
        self.episodes = pd.DataFrame(
            {
                "id": [head.id for head in heads],
                "task": [head.task for head in heads],
                "source": [head.source for head in heads],
                "success": np.array([code(head.success) for head in heads], np.int8),
                "seed": np.array([-1 if h.seed is None else h.seed for h in heads], np.int64),
                "length": np.array([len(row.pose) for row in rows], np.int64),
            }
        )
        self.episodes["begin"] = self.episodes["length"].cumsum() - self.episodes["length"]
        self._begin = self.episodes["begin"].to_numpy()
        self._length = self.episodes["length"].to_numpy()
        self._refuse_unusable()

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width of a view in pixels.

        Raises:
            UserError: views have different sizes.
        """
        sizes = dict(self.sources[0].spec.views)
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{view} {h}x{w}" for view, (h, w) in sizes.items())
            raise UserError(
                f"The views of {self.where} have different sizes ({found}), but one network reads "
                "all of them. Set a common size: size in the world's recipe (--set size=[64,64]), "
                "or `worldeval data convert --size`."
            )
        return next(iter(sizes.values()))

    @property
    def where(self) -> str:
        """Paths of the datasets, for messages."""
        return ", ".join(str(source.spec.path) for source in self.sources)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        return tuple(sorted(self.episodes["task"].unique()))

    @cached_property
    def task_of_row(self) -> Int[Array, " n"]:
        """Return the index into `tasks` for every frame row."""
        own = [self.tasks.index(head.task) for head in self.heads]
        return np.repeat(np.array(own), self._length)

    @property
    def labelled(self) -> Bool[Array, " e"]:
        """Return which episodes have a known outcome."""
        return self.episodes["success"].to_numpy() != UNKNOWN

    def frames(self, view: str, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
        """Read frames of one view at rows of the table, in the given order."""
        rows = np.asarray(rows)
        height, width = self.sources[0].spec.views[view]
        out = np.empty((len(rows), height, width, 3), np.uint8)
        # Sort by row, so that every episode is read in one piece from its beginning.
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        owner = np.searchsorted(self._begin, wanted, side="right") - 1
        cuts = [0, *(np.flatnonzero(owner[1:] != owner[:-1]) + 1).tolist(), len(rows)]
        for first, last in pairwise(cuts) if len(rows) else ():
            episode = int(owner[first])
            source, index = self._at(episode)
            own = wanted[first:last] - self._begin[episode]
            out[order[first:last]] = source.frames(index, view, own)
        return out

    def rows(self, episode: int) -> slice:
        """Return the frame rows of one episode."""
        begin = int(self._begin[episode])
        return slice(begin, begin + int(self._length[episode]))

    def episode(self, index: int) -> Episode:
        """Read one whole episode."""
        source, own = self._at(index)
        return source.episode(own, self.views)

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(len(self)))

    def _at(self, episode: int) -> tuple[Source, int]:
        part = int(self.part[episode])
        return self.sources[part], episode - int(self._first[part])

    def _refuse_unusable(self) -> None:
        for what, values in (("actions", self.actions), ("pose", self.pose)):
            if not values.shape[1]:
                raise UserError(
                    f"{self.where}: the episodes have no {what}, but training needs it."
                )
            bad = ~np.isfinite(values).all(axis=1)
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                name = self.heads[int(np.searchsorted(self._begin, row, side="right")) - 1].id
                raise UserError(
                    f"{self.where}: {what} of episode '{name}' contain non-finite values. "
                    "Run `worldeval data check` to list all of them."
                )
        copies: set[tuple[str, int]] = set()
        for index, head in enumerate(self.heads):
            own = self.rows(index)
            copy = (head.id, hash(self.pose[own].tobytes() + self.actions[own].tobytes()))
            if copy in copies:
                raise UserError(
                    f"Episode '{head.id}' occurs twice in the data ({self.where}). Remove the copy."
                )
            copies.add(copy)


def read_table(*data: Path | Weighted) -> RecordedEpisodes:
    """Read datasets of any format, each with its own map, as one table."""
    parts = [one if isinstance(one, Weighted) else Weighted(path=one) for one in data]
    return RecordedEpisodes([part.open() for part in parts])


def code(success: bool | None) -> int:
    """Encode success as a number: -1 unknown, 0 failed, 1 succeeded."""
    return UNKNOWN if success is None else int(success)


def _flags(head: Head, rows: Rows) -> UInt8[Array, " t"]:
    """Success at each frame: as recorded, or else at the last frame of a successful episode."""
    if rows.flags is not None:
        return rows.flags
    last = np.arange(len(rows.pose)) == len(rows.pose) - 1
    return (last & bool(head.success)).astype(np.uint8)


def _refuse_unlike(first: Source, other: Source) -> None:
    """Refuse sources whose views, numbers or frame rate differ."""
    one, this = first.spec, other.spec
    if not len(other):
        raise UserError(f"{this.path} ({this.format}) has no readable episode.")
    for what, ours, theirs in (
        ("the action space", *_stated(one.space, this.space)),
        ("views", tuple(sorted(one.views.items())), tuple(sorted(this.views.items()))),
        ("frames per second:", one.fps, this.fps),
        ("an action of", *_names(one.action_names, this.action_names, "action")),
        ("a pose of", *_names(one.pose_names, this.pose_names, "pose")),
    ):
        if ours != theirs:
            raise UserError(
                f"{this.path} has {what} {theirs}, but {one.path} has {ours}. They must agree "
                "within a mixture. Convert one of them with `worldeval data convert`."
            )


def _stated(ours: str, theirs: str) -> tuple[str, str]:
    """Two action spaces, of which one that is not stated is no difference."""
    return (ours, theirs) if ours and theirs else ("", "")


def _names(ours: tuple[str, ...], theirs: tuple[str, ...], what: str) -> tuple[object, object]:
    """Return names to compare; if one dataset has none, the numbers of dimensions."""
    if numbered(what, len(ours)) == ours or numbered(what, len(theirs)) == theirs:
        return len(ours), len(theirs)
    return ours, theirs
