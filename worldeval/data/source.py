"""Recorded trajectories in any supported format, read as uniform episodes.

`open_source(path)` detects the format of the folder. Opening reads the index only; rows and frames
are read on demand, so memory stays bounded by one episode.
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
from worldeval.hub import local
from worldeval.record import Episode

BLOCK = 64  # frames read at a time if a whole episode need not be in memory

# kind -> reader class; `detect(path)` is called in this order.
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
    """Properties shared by all episodes of a source."""

    format: str  # including its version: 'lerobot-v3.0'
    path: Path
    fps: float
    views: Mapping[str, tuple[int, int]]  # view -> height, width
    action_names: tuple[str, ...]  # one per dimension
    pose_names: tuple[str, ...]
    # Meaning of an action's numbers in the notation of space_text.py; "" if the format does not
    # say.
    space: str = ""
    pose_space: str = ""  # of the pose's numbers, in the same notation
    # What every column means; empty sides are guessed from the names when the data are opened.
    meaning: ColumnMeanings = field(default_factory=ColumnMeanings)
    # The keys that were read, and how: the contents of a map that reads the same.
    read_as: DataMap = field(default_factory=DataMap)


@dataclass(frozen=True, kw_only=True)
class Head:
    """Facts about an episode that are known before its rows and frames are read."""

    id: str
    length: int
    task: str
    success: bool | None
    split: str = "train"  # as stated by the dataset
    source: str = ""  # who controlled the robot
    seed: int | None = None  # of the simulator's reset, if recorded
    tasks: tuple[str, ...] = ()  # all instructions in order, if an episode has several


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Numbers of an episode, one row per frame."""

    actions: Float32[Array, "t a"]
    pose: Float32[Array, "t p"]
    times: Float[Array, " t"] | None = None  # seconds, if the format stores them
    flags: UInt8[Array, " t"] | None = None  # success at each frame, if the format stores it
    task: Int[Array, " t"] | None = None  # index into the head's `tasks`, if there are several


@runtime_checkable
class Source(Protocol):
    """Episodes on disk. Readers subclass it and inherit `episode`, `len` and iteration.

    `findings` lists everything unusual. An episode that could not be read is listed there as
    'episode-skipped' and is not in `heads`.
    """

    spec: SourceSpec
    heads: list[Head]
    findings: list[DataFinding]
    mapped: bool = False  # whether frames are in a memory map, so that reading decodes nothing

    def rows(self, index: int) -> Rows:
        """Read actions, pose and times of one episode."""
        ...

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        """Read frames of one view: all of them, or those at `rows` in the given order."""
        ...

    def blocks(
        self, index: int, view: str, *, size: int = BLOCK
    ) -> Iterator[UInt8[Array, "n h w 3"]]:
        """Iterate over all frames of one view in order, `size` at a time."""
        length = self.heads[index].length
        for begin in range(0, length, size):
            yield self.frames(index, view, np.arange(begin, min(begin + size, length)))

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        """Read one number per frame that is stored besides action and pose, such as the reward."""
        raise UserError(
            f"{self.spec.path} ({self.spec.format}) has no key '{key}', which the success rule "
            "uses."
        )

    def examine(self) -> list[DataFinding]:
        """Return findings that need a look at every file, beyond reading single episodes."""
        return []

    def has_latents(self, index: int) -> bool:
        """Return whether `latents` is available for this episode."""
        return False

    def latents(self, index: int) -> dict[str, Float32[Array, "t d h w"]]:
        """Read the precomputed latents of every view, for formats that include them."""
        raise UserError(f"{self.spec.path} ({self.spec.format}) has no precomputed latents.")

    def episode(self, index: int, views: Sequence[str] | None = None) -> Episode:
        """Read a whole episode, with all views or the given ones."""
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
        """Return the given views after checking that they exist; all views if None."""
        for view in views or ():
            if view not in self.spec.views:
                raise UserError(
                    f"Camera '{view}' is not in {self.spec.path} (it has: "
                    f"{', '.join(self.spec.views)}).{did_you_mean(view, self.spec.views)}"
                )
        if views is None and not self.spec.views:
            raise UserError(
                f"{self.spec.path} has no readable camera. Run `worldeval data inspect` to see why."
            )
        return tuple(self.spec.views if views is None else views)

    def __len__(self) -> int:
        return len(self.heads)

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(len(self)))


def open_source(
    path: Path | str, kind: str | None = None, *, given: DataMap | None = None
) -> Source:
    """Open the dataset at `path`.

    Args:
        kind: dataset format; detected by default. A custom reader is given as `./mine.py:Reader` or
            `package.module:Reader`.
        given: map with information that the files do not contain.

    Raises:
        UserError: the path does not exist, its format is unknown, or the map does not fit it.
    """
    from worldeval.data.kept_index import indexed
    from worldeval.data.mapped import through_map
    from worldeval.data.own_reader import is_code, own_reader

    path, given = Path(local(str(path), "dataset")), given or DataMap()
    if not path.exists():
        raise UserError(f"There is no dataset at {path}: the path does not exist. Check the path.")
    if kind is not None and is_code(kind):
        return through_map(_opened(own_reader(kind), kind, path, given), given)
    if kind is not None and kind not in READERS:
        raise UserError(f"Unknown dataset format '{kind}'.{did_you_mean(kind, READERS)}")
    if (name := kind or format_of(path)) is not None:
        reader = _reader(name)
        source = indexed(path, name, given, reader, lambda: _opened(reader, name, path, given))
        return through_map(source, given)
    raise UserError(
        f"{path} is not in a supported format ({', '.join(READERS)}). "
        "Give the folder that contains the dataset itself (for LeRobot, the one with "
        "meta/info.json), name the format with --format, or write your own reader (docs/data.md)."
    )


def format_of(path: Path) -> str | None:
    """Return the detected format of the dataset at `path`; None if no reader knows it."""
    return next((name for name in READERS if _reader(name).detect(path)), None)


def _opened(reader: Callable[..., Source], kind: str, path: Path, given: DataMap) -> Source:
    """Open the data with the reader, passing the map if the reader understands maps."""
    understood = getattr(reader, "UNDERSTANDS", ())
    refuse_unread(given, understood, kind)
    takes_map = "given" in signature(reader).parameters
    return reader(path, given) if takes_map else reader(path)


def _reader(kind: str):
    module, name = READERS[kind].split(":")
    return getattr(import_module(module), name)
