"""Summary of a dataset: views, frame rate, episodes, tasks, success, and ranges of all numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Float
from worldeval.data.finding import DataError, DataFinding, counted, grouped, skipped
from worldeval.data.source import Source


@dataclass(frozen=True, kw_only=True)
class Range:
    """Range of one dimension of the actions or the pose, over all frames."""

    name: str
    min: float
    max: float
    p01: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """Summary of a dataset."""

    format: str
    path: str
    episodes: int
    frames: int
    fps: float
    views: dict[str, list[int]]  # view -> height, width
    tasks: dict[str, int]  # text -> episodes
    success: dict[str, int]  # true, false, unknown -> episodes
    splits: dict[str, int]
    action: list[Range]
    pose: list[Range]
    findings: list[DataFinding]

    @property
    def counted(self) -> dict[str, int]:
        """How often each kind of finding occurs, most frequent first."""
        return counted(self.findings)


def summarise(source: Source) -> DatasetSummary:
    """Summarise a dataset from the numbers of all episodes, without reading frames.

    An episode whose numbers cannot be read is excluded from the ranges and listed in `findings`.
    """
    spec, findings = source.spec, list(source.findings)
    actions, poses = [], []
    for index, head in enumerate(source.heads):
        try:
            rows = source.rows(index)
        except DataError as error:
            findings.append(skipped(head.id, error))
            continue
        actions.append(rows.actions)
        poses.append(rows.pose)
    success = Counter(str(head.success).lower() for head in source.heads)
    return DatasetSummary(
        format=spec.format,
        path=str(spec.path),
        episodes=len(source.heads),
        frames=sum(head.length for head in source.heads),
        fps=spec.fps,
        views={view: list(size) for view, size in spec.views.items()},
        tasks=dict(Counter(head.task for head in source.heads).most_common()),
        success={"true": success["true"], "false": success["false"], "unknown": success["none"]},
        splits=dict(Counter(head.split for head in source.heads)),
        action=_ranges(spec.action_names, actions),
        pose=_ranges(spec.pose_names, poses),
        findings=grouped(findings),
    )


def _ranges(names: Sequence[str], parts: list[Float[Array, "_ d"]]) -> list[Range]:
    if not parts:
        return []
    values = np.concatenate(parts).astype(np.float64)
    low, high = np.percentile(values, [1, 99], axis=0)
    return [
        Range(
            name=name,
            min=float(values[:, i].min()),
            max=float(values[:, i].max()),
            p01=float(low[i]),
            p99=float(high[i]),
        )
        for i, name in enumerate(names)
    ]
