"""Labels that people gave to imagined episodes, in an append-only file of the run."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from worldeval.errors import UserError
from worldeval.runs.files import append_line, read_lines
from worldeval.runs.films import Filmstrip
from worldeval.runs.paths import RunPaths

WORDS = {"success": True, "failure": False, "unsure": None}


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """One label by one person; a later label of the same person and episode replaces it."""

    policy: str
    task: str
    start: str
    seed: int
    label: str  # 'success', 'failure' or 'unsure'
    who: str
    when: str  # ISO 8601, UTC

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Key of the labelled episode, equal to `Filmstrip.key`."""
        return self.policy, self.task, self.start, self.seed


def add_opinion(run: Path, strip: Filmstrip, label: str, *, who: str) -> Opinion:
    """Append a label to the run's file.

    Raises:
        UserError: the label is not one of `WORDS`, or `who` is empty.
    """
    if label not in WORDS:
        raise UserError(f"Unknown label '{label}'; choose one of {', '.join(WORDS)}.")
    if not who.strip():
        raise UserError("The label has no author. Give the name of the person who labels.")
    policy, task, start, seed = strip.key
    opinion = Opinion(
        policy=policy,
        task=task,
        start=start,
        seed=seed,
        label=label,
        who=who.strip(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    append_line(RunPaths(run).labels, asdict(opinion))
    return opinion


def read_opinions(run: Path) -> list[Opinion]:
    """Read all labels, oldest first; none if there is no file.

    Raises:
        UserError: a line of the file is damaged.
    """
    path = RunPaths(run).labels
    found = read_lines(path, Opinion)
    for place, opinion in enumerate(found, start=1):
        if opinion.label not in WORDS:
            raise UserError(
                f"{path}, line {place}: unknown label '{opinion.label}'; it must be one of "
                f"{', '.join(WORDS)}."
            )
    return found


def latest(opinions: list[Opinion]) -> list[Opinion]:
    """Keep the last label of each person on each episode."""
    return list({(opinion.who, opinion.key): opinion for opinion in opinions}.values())
