"""Somebody's recorded trajectories, in whatever format, as the same episodes.

`open_source(path)` finds the format from the folder. Opening reads the index only; rows and frames
are read when asked for, so memory stays bounded by one episode.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.columns import ColumnMeanings
from worldeval.data.data_map import DataMap, refuse_unread
from worldeval.data.finding import DataFinding
from worldeval.errors import UserError, did_you_mean
from worldeval.record import Episode

BLOCK = 64  # frames read at a time where a whole episode need not be in memory

# kind -> the class that reads it; `detect(path)` is asked in this order.
READERS = {
    "lerobot": "worldeval.data.formats.lerobot.read:LeRobotSource",
    "robomimic": "worldeval.data.formats.robomimic.read:RobomimicSource",
    "ctrl-world": "worldeval.data.formats.ctrl_world:CtrlWorldSource",
    "shards": "worldeval.data.formats.shards.read:ShardsSource",
    "diffusion-policy": "worldeval.data.formats.diffusion_policy:DiffusionPolicySource",
    "aloha": "worldeval.data.formats.aloha:AlohaSource",
    "rlds": "worldeval.data.formats.rlds.read:RldsSource",
    "mp4-npz": "worldeval.data.formats.mp4_npz:Mp4NpzSource",
}


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """What all episodes of a source share."""

    format: str  # with its version: 'lerobot-v3.0'
    path: Path
    fps: float
    views: Mapping[str, tuple[int, int]]  # view -> height, width
    action_names: tuple[str, ...]  # one per dimension
    pose_names: tuple[str, ...]
    # What the numbers of an action mean, as space_text.py writes it; "" where the format leaves it
    # open.
    space: str = ""
    # What every column means; empty sides are guessed from the names when the data are opened.
    meaning: ColumnMeanings = field(default_factory=ColumnMeanings)
    # Which keys were read, and how: what a map would have to say for the same reading.
    read_as: DataMap = field(default_factory=DataMap)


@dataclass(frozen=True, kw_only=True)
class Head:
    """What is known of an episode before its rows and frames are read."""

    id: str
    length: int
    task: str
    success: bool | None
    split: str = "train"  # as the dataset says
    source: str = ""  # who drove
    seed: int | None = None  # of the simulator's reset, where one was recorded
    tasks: tuple[str, ...] = ()  # every instruction in turn, where an episode has several


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The numbers of an episode, a row per frame."""

    actions: Float32[Array, "t a"]
    pose: Float32[Array, "t p"]
    times: Float[Array, " t"] | None = None  # seconds, where the format stores them
    flags: UInt8[Array, " t"] | None = None  # success at each frame, where the format stores it
    task: Int[Array, " t"] | None = None  # which of the head's `tasks`, where there are several


@runtime_checkable
class Source(Protocol):
    """Episodes on disk. Readers subclass it; `episode`, `len` and iteration come with it.

    `findings` tells what was odd; an episode that could not be read at all is listed there as
    'episode-skipped' and is not in `heads`.
    """

    spec: SourceSpec
    heads: list[Head]
    findings: list[DataFinding]
    mapped: bool = False  # whether frames lie ready in a memory map, so that no read decodes any

    def rows(self, index: int) -> Rows:
        """Actions, pose and times of one episode."""
        ...

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        """Frames of one view, all of them or those at `rows`, in the order asked for."""
        ...

    def blocks(
        self, index: int, view: str, *, size: int = BLOCK
    ) -> Iterator[UInt8[Array, "n h w 3"]]:
        """All frames of one view in order, `size` at a time."""
        length = self.heads[index].length
        for begin in range(0, length, size):
            yield self.frames(index, view, np.arange(begin, min(begin + size, length)))

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        """One number a frame that the episode keeps beside action and pose, such as its reward."""
        raise UserError(
            f"{self.spec.path} ({self.spec.format}) has no '{key}' that a success rule could read."
        )

    def examine(self) -> list[DataFinding]:
        """What only a look at every file tells, of which reading an episode says nothing."""
        return []

    def has_latents(self, index: int) -> bool:
        """Whether `latents` has something to give for this episode."""
        return False

    def latents(self, index: int) -> dict[str, Float32[Array, "t d h w"]]:
        """Pre-computed latents of every view, for the formats that bring them."""
        raise UserError(f"{self.spec.path} ({self.spec.format}) brings no latents.")

    def episode(self, index: int, views: Sequence[str] | None = None) -> Episode:
        """A whole episode, with all views or those named."""
        head, rows = self.heads[index], self.rows(index)
        return Episode(
            id=head.id,
            frames={view: self.frames(index, view) for view in self.choose(views)},
            actions=rows.actions,
            pose=rows.pose,
            task=head.task,
            success=head.success,
            fps=self.spec.fps,
            source=head.source,
        )

    def choose(self, views: Sequence[str] | None) -> tuple[str, ...]:
        """The views asked for, all of them where None; refused where one does not exist."""
        for view in views or ():
            if view not in self.spec.views:
                raise UserError(
                    f"Camera '{view}' is not in {self.spec.path} (it has: "
                    f"{', '.join(self.spec.views)}).{did_you_mean(view, self.spec.views)}"
                )
        if views is None and not self.spec.views:
            raise UserError(
                f"{self.spec.path} has no camera that can be read; worldeval data inspect says why."
            )
        return tuple(self.spec.views if views is None else views)

    def __len__(self) -> int:
        return len(self.heads)

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(len(self)))


def open_source(
    path: Path | str, kind: str | None = None, *, given: DataMap | None = None
) -> Source:
    """The dataset at `path`.

    Args:
        kind: its format, where it is not to be detected; or a reader of one's own, as
            `./mine.py:Reader` or `package.module:Reader`.
        given: what the files leave open, as a map says it.

    Raises:
        UserError: nothing is there, in no known format, or the map does not fit it.
    """
    from worldeval.data.mapped import through_map
    from worldeval.data.own_reader import is_code, own_reader

    path, given = Path(path), given or DataMap()
    if not path.exists():
        raise UserError(f"There is no dataset at {path}: the path does not exist.")
    if kind is not None and is_code(kind):
        return through_map(_opened(own_reader(kind), kind, path, given), given)
    if kind is not None and kind not in READERS:
        raise UserError(f"There is no dataset format '{kind}'.{did_you_mean(kind, READERS)}")
    for name in READERS if kind is None else (kind,):
        reader = _reader(name)
        if kind is not None or reader.detect(path):
            return through_map(_opened(reader, name, path, given), given)
    raise UserError(
        f"{path} is in none of the formats read here ({', '.join(READERS)}). "
        "Give the folder that holds the dataset itself (for LeRobot the one with meta/info.json), "
        "name the format with --format, or write a reader of your own (docs/data.md)."
    )


def _opened(reader: Callable[..., Source], kind: str, path: Path, given: DataMap) -> Source:
    """The reader's own look at the data; it gets the map where it understands more than all do."""
    understood = getattr(reader, "UNDERSTANDS", ())
    refuse_unread(given, understood, kind)
    takes_map = "given" in signature(reader).parameters
    return reader(path, given) if takes_map else reader(path)


def _reader(kind: str):
    module, name = READERS[kind].split(":")
    return getattr(import_module(module), name)
