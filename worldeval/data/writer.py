"""Base class of all dataset writers, and the properties shared by all episodes of a dataset."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from worldeval.axes import Array, UInt8
from worldeval.data.columns import ColumnMeanings
from worldeval.data.source import Head, Rows
from worldeval.data.staging import Staging
from worldeval.errors import UserError
from worldeval.record import Episode

W = TypeVar("W", bound="Writer")
Value = float | int | str | bool | None  # in a column that has one value per episode


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Properties shared by all episodes of a dataset to be written."""

    fps: float
    views: Mapping[str, tuple[int, int]]  # view -> height, width
    action_names: tuple[str, ...]
    pose_names: tuple[str, ...]
    meaning: ColumnMeanings = field(default_factory=ColumnMeanings)  # kept with the episodes


class Writer:
    """Context manager that stages episodes and completes the dataset on a successful exit.

    A format implements `_stage` (one episode into a folder) and `_assemble` (folders into the
    dataset).
    """

    def __init__(
        self,
        out: Path,
        shape: Shape,
        *,
        description: Mapping[str, Any],
        origin: str = "",
        fresh: bool = False,
    ) -> None:
        """`origin` describes in words what is written, so that only the same job is resumed."""
        self.out, self.shape = out, shape
        self.staging = Staging(out, {"origin": origin, **description}, fresh=fresh)

    def has(self, place: int) -> bool:
        """Whether the episode at `place` is already staged."""
        return place in self.staging

    def add(self, episode: Episode, *, columns: Mapping[str, Value] | None = None) -> None:
        """Stage an episode after the existing ones; `columns` are stored with it."""
        head = Head(
            id=episode.id,
            length=len(episode),
            task=episode.task,
            success=episode.success,
            source=episode.source,
        )
        if abs(episode.fps - self.shape.fps) > 1e-3:
            self._refuse(
                head, f"it has {episode.fps:g} fps, but the dataset has {self.shape.fps:g}"
            )
        rows = Rows(actions=episode.actions, pose=episode.pose)
        frames = {view: [part] for view, part in episode.frames.items()}
        self.add_parts(head, rows, frames, place=len(self.staging), columns=columns)

    def add_parts(
        self,
        head: Head,
        rows: Rows,
        frames: Mapping[str, Iterable[UInt8[Array, "n h w 3"]]],
        *,
        place: int,
        columns: Mapping[str, Value] | None = None,
    ) -> None:
        """Stage an episode whose frames come in blocks, so that it needs little memory."""
        self._check(head, rows, frames)
        with self.staging.episode(place) as folder:
            checked = {view: self._blocks(head, view, frames[view]) for view in self.shape.views}
            self._stage(folder, head, rows, checked, columns or {})

    def finish(self, *, files: Mapping[str, str] | None = None) -> None:
        """Assemble the dataset and give it its final name; `files` maps paths to texts to add."""
        with self.staging.whole() as draft:
            self._assemble(self.staging.episodes(), draft)
            for name, text in (files or {}).items():
                self._put(draft, name, text)
            self._check_whole(draft)

    def _put(self, draft: Path, name: str, text: str) -> None:
        """Add a text to the assembled dataset: a file, if the dataset is a folder."""
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / name).write_text(text)

    def _stage(
        self,
        folder: Path,
        head: Head,
        rows: Rows,
        frames: Mapping[str, Iterable[UInt8[Array, "n h w 3"]]],
        columns: Mapping[str, Value],
    ) -> None:
        raise NotImplementedError

    def _assemble(self, staged: list[Path], draft: Path) -> None:
        raise NotImplementedError

    def _check_whole(self, draft: Path) -> None:
        """Reread what was not yet checked; raise UserError if it differs from what was written."""

    def __enter__(self: W) -> W:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None and self.staging.part.is_dir():
            self.finish()

    def _check(self, head: Head, rows: Rows, frames: Mapping[str, Any]) -> None:
        if not head.length:
            self._refuse(head, "it is empty")
        for view in self.shape.views:
            if view not in frames:
                self._refuse(head, f"view '{view}' is missing (it has: {', '.join(frames)})")
        for name, values, names in (
            ("actions", rows.actions, self.shape.action_names),
            ("pose", rows.pose, self.shape.pose_names),
        ):
            needed = (head.length, len(names))
            if values.shape != needed:
                self._refuse(head, f"{name} have shape {values.shape}; expected {needed}")
            if not np.isfinite(values).all():
                self._refuse(head, f"{name} contain non-finite values")

    def _blocks(self, head: Head, view: str, blocks: Iterable[UInt8[Array, "n h w 3"]]):
        size, count = self.shape.views[view], 0
        for block in blocks:
            if block.shape[1:] != (*size, 3) or block.dtype != np.uint8:
                self._refuse(head, f"view '{view}' is {block.shape[1:]}; expected {(*size, 3)}")
            count += len(block)
            yield block
        if count != head.length:
            self._refuse(head, f"view '{view}' has {count} frames; expected {head.length}")

    def _refuse(self, head: Head, problem: str) -> None:
        raise UserError(f"Episode '{head.id}' does not fit {self.out}: {problem}.")


def whole_rate(fps: float) -> int:
    """Convert a rate to the whole number that some formats require."""
    if abs(fps - round(fps)) > 1e-6:
        raise UserError(
            "LeRobot datasets need an integer frame rate, but this dataset has "
            f"{fps:g} frames per second. Write shards (--to shards), or choose --every so that the "
            "rate is whole."
        )
    return round(fps)
