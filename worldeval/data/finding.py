"""What a reader or the validator noticed in a dataset, and the error for what cannot be read."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from worldeval.errors import UserError

EXAMPLES = 5  # named in the text of a finding
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class DataFinding:
    """One thing to know about a dataset. An `error` would harm training; a `note` would not."""

    code: str  # short and stable: 'angle-wraps', 'episode-skipped'
    severity: Severity
    episode: str | None  # None: of the whole dataset
    field: str  # the column, view or file that it is about
    text: str  # the value found and what to do
    # Where several were found alike (`grouped`): how many, in which episodes, of which fields.
    count: int = 1
    episodes: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


class DataError(UserError):
    """A file of a dataset that cannot be read as it says it should be."""

    def __init__(self, file: Path, field: str, problem: str, remedy: str = "") -> None:
        self.file, self.field = file, field
        super().__init__(f"{file}: {field}: {problem}" + (f" {remedy}" if remedy else ""))


class OutsideError(DataError):
    """A file that leads out of the folder or file that was named, where nothing is read."""


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


def grouped(findings: Iterable[DataFinding]) -> list[DataFinding]:
    """One finding per code and severity: the first of each, with the number and places of the rest.

    A file that is missing concerns every episode in it, and a bad column all of them: hundreds of
    lines would hide what else there is.
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
    """Why no episode can be read: what is said of the first that was left out."""
    return next((one.text for one in findings if one.code == "episode-skipped"), otherwise)


def counted(findings: Iterable[DataFinding]) -> dict[str, int]:
    """How often each code occurs, the most frequent first."""
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.code] = counts.get(finding.code, 0) + finding.count
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
