"""Findings of readers and of the validator about a dataset, and the error for unreadable files."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from worldeval.errors import UserError

EXAMPLES = 5  # number of examples named in the text of a finding
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class DataFinding:
    """One observation about a dataset. An `error` would harm training; a `note` would not."""

    code: str  # short and stable: 'angle-wraps', 'episode-skipped'
    severity: Severity
    episode: str | None  # None if it concerns the whole dataset
    field: str  # the column, view or file concerned
    text: str  # the value found and what to do
    # For several findings of one kind (`grouped`): their number, episodes and fields.
    count: int = 1
    episodes: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


class DataError(UserError):
    """A file of a dataset that is damaged, or that is not what it claims to be."""

    def __init__(self, file: Path, field: str, problem: str, remedy: str = "") -> None:
        self.file, self.field = file, field
        # Libraries put line breaks into what they say, and an error is one line.
        said = " ".join(problem.split())
        super().__init__(f"{file}: {field}: {said}" + (f" {remedy}" if remedy else ""))


class OutsideError(DataError):
    """A file that leads out of the given folder or file; nothing outside is read."""


def skipped(episode: str, error: UserError) -> DataFinding:
    """Create the finding about an episode that is excluded because it could not be read."""
    field = error.field if isinstance(error, DataError) else "episode"
    return DataFinding(
        code="episode-skipped",
        severity="error",
        episode=episode,
        field=field,
        text=f"excluded: {error}",
    )


def unused_videos(root: Path, videos: Iterable[Path], known: Collection[Path]) -> list[DataFinding]:
    """Report videos that belong to no episode, as at most one finding."""
    unused = sorted(video for video in videos if video not in known)
    if not unused:
        return []
    return [
        DataFinding(
            code="unused-video",
            severity="warning",
            episode=None,
            field=str(unused[0].relative_to(root)),
            text=f"{len(unused)} videos belong to no readable episode. Check for missing rows.",
        )
    ]


def grouped(findings: Iterable[DataFinding]) -> list[DataFinding]:
    """Merge findings by code and severity: the first of each, with number and places of the rest.

    A missing file concerns all of its episodes, and a bad column concerns all episodes of the
    dataset; hundreds of lines would hide the other findings.
    """
    kinds: dict[tuple[str, Severity], list[DataFinding]] = {}
    for finding in findings:
        kinds.setdefault((finding.code, finding.severity), []).append(finding)
    return [_merged(alike) for alike in kinds.values()]


def _merged(alike: list[DataFinding]) -> DataFinding:
    first, count = alike[0], sum(finding.count for finding in alike)
    if count == 1:
        return first
    episodes = dict.fromkeys(f.episode for f in alike if f.episode is not None)
    fields = dict.fromkeys(finding.field for finding in alike)
    parts = [
        _examples(f"in {len(episodes)} episodes", list(episodes)) if len(episodes) > 1 else "",
        _examples(f"of {len(fields)} fields", list(fields)) if len(fields) > 1 else "",
    ]
    places = "; ".join(part for part in parts if part)
    return replace(
        first,
        text=f"{first.text} [{count} such findings{', ' if places else ''}{places}]",
        count=count,
        episodes=tuple(episodes),
        fields=tuple(fields),
    )


def _examples(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
    return f"{what}: {shown}"


def why_none(findings: Iterable[DataFinding], otherwise: str) -> str:
    """Explain why no episode can be read, by the first one that was excluded."""
    return next((one.text for one in findings if one.code == "episode-skipped"), otherwise)


def counted(findings: Iterable[DataFinding]) -> dict[str, int]:
    """Count how often each code occurs, most frequent first."""
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.code] = counts.get(finding.code, 0) + finding.count
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
