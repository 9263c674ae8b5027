"""What people say of imagined episodes: an append-only file of labels beside the run."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from worldeval.errors import UserError
from worldeval.report.filmstrip import Filmstrip

FILE = "labels.jsonl"
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


@dataclass(frozen=True, kw_only=True)
class LabelAgreement:
    """People's labels against the judge's, an episode being a success from probability 1/2."""

    both: int
    neither: int
    judge_only: int  # the judge says success, the person failure
    person_only: int

    @property
    def total(self) -> int:
        """Episodes with a label that is not 'unsure'."""
        return self.both + self.neither + self.judge_only + self.person_only

    @property
    def agreeing(self) -> int:
        """Episodes on which both say the same."""
        return self.both + self.neither


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
    line = json.dumps(asdict(opinion)) + "\n"
    # One write in append mode: two people at once do not cut into each other's lines.
    handle = os.open(run / FILE, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)
    return opinion


def read_opinions(run: Path) -> list[Opinion]:
    """Every label, oldest first; none without a file.

    Raises:
        UserError: a line of the file is damaged.
    """
    path = run / FILE
    if not path.is_file():
        return []
    found = []
    for place, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            opinion = Opinion(**json.loads(line))
        except (json.JSONDecodeError, TypeError) as error:
            raise UserError(f"{path}, line {place} is no label: {error}") from error
        if opinion.label not in WORDS:
            raise UserError(f"{path}, line {place}: '{opinion.label}' is no label.")
        found.append(opinion)
    return found


def latest(opinions: list[Opinion]) -> list[Opinion]:
    """The last label of each person on each episode."""
    return list({(opinion.who, opinion.key): opinion for opinion in opinions}.values())


def against_judge(opinions: list[Opinion], strips: tuple[Filmstrip, ...]) -> LabelAgreement:
    """Compare the last labels with the judge; 'unsure' and what it did not judge are left out."""
    judged = {s.key: s.probability >= 0.5 for s in strips if s.probability is not None}
    said = [(WORDS[o.label], judged[o.key]) for o in latest(opinions) if o.key in judged]
    known = [(person, judge) for person, judge in said if person is not None]
    return LabelAgreement(
        both=known.count((True, True)),
        neither=known.count((False, False)),
        judge_only=known.count((False, True)),
        person_only=known.count((True, False)),
    )
