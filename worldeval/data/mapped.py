"""Datasets read through a map: renamed, excluded or converted columns, and success rules."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.columns import ColumnMeanings, Groups, guess, names, sensed, spans
from worldeval.data.data_map import DataMap
from worldeval.data.finding import DataFinding
from worldeval.data.source import Head, Rows, Source
from worldeval.data.space_of import declared_space
from worldeval.data.stacked_steps import StackedSteps
from worldeval.errors import UserError


def through_map(source: Source, given: DataMap) -> Source:
    """Apply the map `given` to a source, and assign a meaning to every column.

    Raises:
        UserError: the map describes a different number of columns than the source has.
    """
    source, every = _described(source, given), given.every or 1
    return StackedSteps(source, every) if every > 1 else source


def _described(source: Source, given: DataMap) -> Source:
    said = {"columns": given.action.columns or given.pose.columns, "rule": given.success,
            "fps": given.fps, "task": given.task, "units": given.convert_units}  # fmt: skip
    known = _known(source)
    objects = any(group.means == "object" for group in (*known.action, *known.pose))
    if objects or any(said.values()):
        return MappedSource(source, given)
    source.spec = replace(
        source.spec,
        meaning=known,
        space=source.spec.space or declared_space(known.action),
        pose_space=source.spec.pose_space or declared_space(known.pose),
        read_as=_read_as(source.spec.read_as, given, known),
    )
    return source


class MappedSource(Source):
    """A source whose numbers and heads are adjusted by a map."""

    def __init__(self, source: Source, given: DataMap) -> None:
        self.source, self.map, self.mapped = source, given, source.mapped
        spec, own = source.spec, _known(source)
        stored = ColumnMeanings(
            action=_fitting(given.action.columns, own.action, spec.action_names, "action", source),
            pose=_fitting(given.pose.columns, own.pose, spec.pose_names, "pose", source),
        )
        self._stored = stored
        self._kept = {"action": sensed(stored.action), "pose": sensed(stored.pose)}
        for side, kept in self._kept.items():
            if not len(kept):
                raise UserError(
                    f"The map excludes every column of the {side} of {spec.path}. Keep one."
                )
        meaning = ColumnMeanings(action=self._shown(stored.action), pose=self._shown(stored.pose))
        retold = given.action.columns or given.convert_units or not spec.space
        self.spec = replace(
            spec,
            fps=given.fps or spec.fps,
            action_names=names(meaning.action),
            pose_names=names(meaning.pose),
            meaning=meaning,
            read_as=_read_as(spec.read_as, given, stored),
            space=declared_space(meaning.action) if retold else spec.space,
            pose_space=declared_space(meaning.pose),
        )
        self.findings = [each for each in source.findings if not self._answers(each)]
        self.heads = [self._head(index, head) for index, head in enumerate(source.heads)]

    def rows(self, index: int) -> Rows:
        rows = self.source.rows(index)
        rule = self.map.rule
        if rule is not None:
            flags = rule.flags(self.source.column(index, rule.key))
            rows = replace(rows, flags=None if flags is None else flags.astype(np.uint8))
        return replace(
            rows,
            actions=self._numbers(rows.actions, self._stored.action, "action"),
            pose=self._numbers(rows.pose, self._stored.pose, "pose"),
        )

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        return self.source.frames(index, view, rows)

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        return self.source.column(index, key)

    def examine(self) -> list[DataFinding]:
        return self.source.examine()

    def has_latents(self, index: int) -> bool:
        return self.source.has_latents(index)

    def latents(self, index: int) -> dict[str, Float32[Array, "t d h w"]]:
        return self.source.latents(index)

    def _head(self, index: int, head: Head) -> Head:
        if self.map.task:
            head = replace(head, task=self.map.task, tasks=())
        rule = self.map.rule
        if rule is None:
            return head
        return replace(head, success=rule.holds(self.source.column(index, rule.key)))

    def _shown(self, groups: Groups) -> Groups:
        shown = tuple(group for group in groups if group.means != "object")
        return tuple(group.si() for group in shown) if self.map.convert_units else shown

    def _numbers(
        self, values: Float32[Array, "t a"], groups: Groups, side: str
    ) -> Float32[Array, "t b"]:
        if self.map.convert_units:
            parts = [group.in_si(values[:, span]) for group, span in spans(groups)]
            values = np.concatenate(parts, axis=1)
        return values[:, self._kept[side]].astype(np.float32)

    def _answers(self, finding: DataFinding) -> bool:
        """Whether the map states what the reader only guessed."""
        answered = {
            "fps-guessed": self.map.fps,
            "success-guessed": self.map.success,
            "no-success": self.map.success,
            "no-task": self.map.task,
            "pose-guessed": self.map.pose.keys or self.map.pose.columns,
        }
        return bool(answered.get(finding.code))


def _read_as(own: DataMap, given: DataMap, stored: ColumnMeanings) -> DataMap:
    """Build the equivalent map: the reader's choices, and all columns as they are stored."""
    said = ("fps", "every", "success", "task", "convert_units")
    kept = {name: getattr(given, name) for name in said}
    return replace(
        own,
        action=replace(own.action, columns=stored.action),
        pose=replace(own.pose, columns=stored.pose),
        **kept,
    )


def _known(source: Source) -> ColumnMeanings:
    """Column meanings known to the reader; unknown ones are guessed from the names."""
    spec = source.spec
    return ColumnMeanings(
        action=spec.meaning.action or guess(spec.action_names),
        pose=spec.meaning.pose or guess(spec.pose_names),
    )


def _fitting(given: Groups, own: Groups, found: Sequence[str], side: str, source: Source) -> Groups:
    if given and len(names(given)) != len(found):
        raise UserError(
            f"The map describes {len(names(given))} columns of the {side} "
            f"({', '.join(names(given))}), but {source.spec.path} has {len(found)} "
            f"({', '.join(found)}). List every column; exclude one with means: object."
        )
    return given or own
