"""Recorded episodes with which the interfaces of policies are checked before they are ranked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Int, UInt8
from worldeval.data.adapt import ChosenEpisodes
from worldeval.data.convert import convert
from worldeval.data.data_map import read_map
from worldeval.data.names import numbered
from worldeval.data.source import Head, Rows, Source, SourceSpec, open_source
from worldeval.rollout.starts import Recording, read_recordings
from worldeval.world.protocol import WorldSpec
from worldeval.world.sources import as_trained

MAP = "map.yaml"  # of a dataset, in its own folder
KEPT_EPISODES, KEPT_FRAMES = 24, 40


@dataclass(frozen=True, kw_only=True)
class RecordedBy:
    """Where recorded episodes are: a dataset, or recordings that begin at a start."""

    data: str = ""
    map: str = ""  # of the dataset; "": its own `map.yaml` if there is one
    replays: str = ""  # used if there is no dataset

    def __bool__(self) -> bool:
        return bool(self.data or self.replays)

    def open(self, world: WorldSpec, tasks: Sequence[str]) -> Source:
        """Open the episodes of some tasks in the form in which `world` shows them to policies."""
        if not self.data:
            return RecordedStarts(read_recordings(Path(self.replays)), world)
        source = as_trained(open_recordings(Path(self.data), self.map), world)
        own = [i for i, head in enumerate(source.heads) if head.task in tasks]
        return ChosenEpisodes(source, own) if own and len(own) < len(source) else source


def open_recordings(
    path: Path, given: Path | str | None = None, *, kind: str | None = None
) -> Source:
    """Open a dataset with a map, or with the one that lies in its folder."""
    known = Path(given) if given else path / MAP
    described = read_map(known) if given or known.is_file() else None
    return open_source(path, kind, given=described)


def keep_recordings(source: Source, held_out: Sequence[int], out: Path) -> None:
    """Write pieces of held-out episodes that did not fail, with what their columns mean.

    They can be moved, and nothing is written twice.
    """
    episodes = [int(index) for index in held_out if source.heads[index].success is not False]
    if not episodes or (out.is_dir() and any(out.iterdir())):
        return
    pieces = EpisodePieces(source, episodes[:KEPT_EPISODES], length=KEPT_FRAMES)
    convert(pieces, out, to="shards")


class EpisodePieces(ChosenEpisodes):
    """The middle `length` frames of chosen episodes."""

    def __init__(self, source: Source, episodes: Sequence[int], *, length: int) -> None:
        super().__init__(source, episodes)
        self._begin = [max(0, (head.length - length) // 2) for head in self.heads]
        self.heads = [replace(head, length=min(length, head.length)) for head in self.heads]

    def rows(self, index: int) -> Rows:
        rows, own = super().rows(index), self._own(index)
        cut = {
            name: getattr(rows, name)[own]
            for name in ("actions", "pose", "times", "flags", "task")
            if getattr(rows, name) is not None
        }
        return replace(rows, **cut)

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        own = self._own(index)
        wanted = np.arange(own.start, own.stop) if rows is None else own.start + np.asarray(rows)
        return super().frames(index, view, wanted)

    def _own(self, index: int) -> slice:
        return slice(self._begin[index], self._begin[index] + self.heads[index].length)


class RecordedStarts(Source):
    """Successful recordings of which only the first frame is kept: one moment of each."""

    def __init__(self, recordings: Sequence[Recording], world: WorldSpec) -> None:
        self._kept = [each for each in recordings if each.success and len(each.actions)]
        self.findings = []
        self.heads = [
            Head(id=each.start.id, length=2, task=each.start.task, success=True)
            for each in self._kept
        ]
        self.spec = SourceSpec(
            format="recordings",
            path=Path("replays"),
            fps=world.fps,
            views=dict.fromkeys(world.views, world.size),
            action_names=numbered("action", world.action_dim),
            pose_names=numbered("pose", world.pose_dim),
            space=world.space,
            pose_space=world.pose_space,
        )

    def rows(self, index: int) -> Rows:
        one = self._kept[index]
        return Rows(actions=np.repeat(one.actions[:1], 2, axis=0), pose=one.pose[:2])

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        count = 2 if rows is None else len(rows)
        return np.stack([self._kept[index].start.frames[view]] * count)
