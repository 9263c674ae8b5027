# The library's stubs are narrower than what it takes and gives.
# pyright: reportArgumentType=false
"""Run all checks on a dataset, with one episode in memory at a time."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from worldeval.axes import Array
from worldeval.data.check.alignment import alignment_findings
from worldeval.data.check.control import control_findings
from worldeval.data.check.duplicates import duplicates
from worldeval.data.check.numbers import dataset_findings, episode_findings
from worldeval.data.check.pictures import joint_motion, picture_findings
from worldeval.data.check.stale_starts import StaleStarts
from worldeval.data.finding import DataError, DataFinding, grouped, skipped
from worldeval.data.source import Head, Rows, Source
from worldeval.data.stacked_steps import StackedSteps

# Notes of a reader that matter more before training.
HEAVIER = {"frame-count", "fps-tag", "no-task"}
ORDER = {"error": 0, "warning": 1, "note": 2}


def check(
    source: Source,
    *,
    pictures: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[DataFinding]:
    """Check a dataset and return grouped findings, harmful ones first.

    Stacked steps are checked as they were recorded. With `pictures=False`, no frames are read.
    """
    if isinstance(source, StackedSteps):
        source = source.source
    findings = [
        replace(finding, severity="warning") if finding.code in HEAVIER else finding
        for finding in source.findings
    ]
    names = {"action": source.spec.action_names, "pose": source.spec.pose_names}
    heads: list[Head] = []
    parts: list[Rows] = []
    indices: list[int] = []
    starts = StaleStarts()
    motions: list[Array] = []  # in the images of each readable episode
    for index, head in enumerate(source.heads):
        try:
            rows = source.rows(index)
        except DataError as error:
            findings.append(skipped(head.id, error))
        else:
            indices.append(index)
            heads.append(head)
            parts.append(rows)
            findings += episode_findings(head, rows, source.spec.fps, names)
            if pictures:
                seen: dict[str, Array] = {}
                findings += picture_findings(source, index, rows.pose, seen, starts)
                motions.append(joint_motion(seen))
        if progress is not None:
            progress(index + 1, len(source))
    if parts:
        actions, poses = [rows.actions for rows in parts], [rows.pose for rows in parts]
        findings += dataset_findings("action", names["action"], heads, actions)
        findings += dataset_findings("pose", names["pose"], heads, poses)
        findings += duplicates(source, indices, parts, pictures=pictures)
        findings += control_findings(parts)
        if pictures:
            findings += alignment_findings(motions, parts, source.spec.meaning)
            findings += starts.findings()
    findings += source.examine() if pictures else []
    findings += _identities(source)
    findings += _success(source)
    return sorted(grouped(findings), key=lambda finding: ORDER[finding.severity])


def harmful(findings: list[DataFinding]) -> bool:
    """Return whether the findings would harm training."""
    return any(finding.severity == "error" for finding in findings)


def _identities(source: Source) -> list[DataFinding]:
    counts = Counter(head.id for head in source.heads)
    return [
        DataFinding(
            code="duplicate-id",
            severity="error",
            episode=name,
            field="id",
            text=f"{count} episodes share this id, so none can be held out by name. Rename or "
            "remove the duplicates.",
        )
        for name, count in counts.items()
        if count > 1
    ]


def _success(source: Source) -> list[DataFinding]:
    unknown = [head.id for head in source.heads if head.success is None]
    if not unknown:
        return []
    shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
    return [
        DataFinding(
            code="unknown-success",
            severity="warning",
            episode=unknown[0],
            field="success",
            text=f"is unknown for {len(unknown)} of {len(source)} episodes ({shown}). A judge "
            "cannot be trained on them. Label them, or use them only to train a world model.",
        )
    ]
