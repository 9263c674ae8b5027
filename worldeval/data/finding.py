"""What a reader or the validator noticed in a dataset, and the error for what cannot be read."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldeval.errors import UserError

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class DataFinding:
    """One thing to know about a dataset. An `error` would harm training; a `note` would not."""

    code: str  # short and stable: 'angle-wraps', 'episode-skipped'
    severity: Severity
    episode: str | None  # None: of the whole dataset
    field: str  # the column, view or file that it is about
    text: str  # the value found and what to do


class DataError(UserError):
    """A file of a dataset that cannot be read as it says it should be."""

    def __init__(self, file: Path, field: str, problem: str, remedy: str = "") -> None:
        self.file, self.field = file, field
        super().__init__(f"{file}: {field}: {problem}" + (f" {remedy}" if remedy else ""))


def skipped(episode: str, error: UserError) -> DataFinding:
    """The finding of an episode left out because it could not be read."""
    field = error.field if isinstance(error, DataError) else "episode"
    return DataFinding(
        code="episode-skipped",
        severity="error",
        episode=episode,
        field=field,
        text=f"left out: {error}",
    )


def unused_videos(root: Path, videos: Iterable[Path], known: Collection[Path]) -> list[DataFinding]:
    """One finding where there are videos that belong to no episode."""
    unused = sorted(video for video in videos if video not in known)
    if not unused:
        return []
    return [
        DataFinding(
            code="unused-video",
            severity="warning",
            episode=None,
            field=str(unused[0].relative_to(root)),
            text=f"{len(unused)} videos belong to no episode that can be read. Are rows missing?",
        )
    ]


def counted(findings: Iterable[DataFinding]) -> dict[str, int]:
    """How often each code occurs, the most frequent first."""
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.code] = counts.get(finding.code, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
