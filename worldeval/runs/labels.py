"""What people say of imagined episodes: an append-only file of labels beside the run."""

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
    """One label by one person; a later one of the same person and episode replaces it."""

    policy: str
    task: str
    start: str
    seed: int
    label: str  # 'success', 'failure' or 'unsure'
    who: str
    when: str  # ISO 8601, UTC

    @property
    def key(self) -> tuple[str, str, str, int]:
        """The episode that it is about, as `Filmstrip.key`."""
        return self.policy, self.task, self.start, self.seed


def add_opinion(run: Path, strip: Filmstrip, label: str, *, who: str) -> Opinion:
    """Append a label to the run's file.

    Raises:
        UserError: the word is not one of `WORDS`, or nobody is named.
    """
    if label not in WORDS:
        raise UserError(f"A label is one of {', '.join(WORDS)}; this is '{label}'.")
    if not who.strip():
        raise UserError("A label needs a name: whose is it?")
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
    """Every label, oldest first; none without a file.

    Raises:
        UserError: a line of the file is damaged.
    """
    path = RunPaths(run).labels
    found = read_lines(path, Opinion)
    for place, opinion in enumerate(found, start=1):
        if opinion.label not in WORDS:
            raise UserError(f"{path}, line {place}: '{opinion.label}' is no label.")
    return found


def latest(opinions: list[Opinion]) -> list[Opinion]:
    """The last label of each person on each episode."""
    return list({(opinion.who, opinion.key): opinion for opinion in opinions}.values())
