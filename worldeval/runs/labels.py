"""Labels that people gave to imagined episodes, in an append-only file of the run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np

from worldeval.errors import UserError
from worldeval.runs.files import append_line, read_lines
from worldeval.runs.films import Filmstrip
from worldeval.runs.paths import RunPaths
from worldeval.stats.estimate import Estimate
from worldeval.stats.kappa import cohens_kappa

WORDS = {"success": True, "failure": False, "unsure": None}
# How a labelled episode was drawn: by the queue of those that matter, uniformly at random, or
# otherwise. Labels of the last kind stand for no other episode.
IMPORTANT, RANDOM, CHOSEN = "important", "random", "chosen"
EpisodeKey = tuple[str, str, str, int]  # policy, task, start, seed


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
    drawn: str = ""  # IMPORTANT, RANDOM or CHOSEN; "": not recorded

    @property
    def key(self) -> EpisodeKey:
        """Key of the labelled episode, equal to `Filmstrip.key`."""
        return self.policy, self.task, self.start, self.seed


@dataclass(frozen=True, kw_only=True)
class PeopleAgreement:
    """How far two people agree on the episodes that both labelled."""

    one: str
    other: str
    equal: int  # episodes with the same label
    episodes: int  # that both labelled
    kappa: Estimate  # Cohen's, with 'unsure' as a third label


def add_opinion(run: Path, strip: Filmstrip, label: str, *, who: str, drawn: str = "") -> Opinion:
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
        drawn=drawn,
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


def between_people(opinions: Sequence[Opinion]) -> tuple[PeopleAgreement, ...]:
    """Return how far people agree beyond chance, for every pair with common episodes."""
    by_person: dict[str, dict[EpisodeKey, str]] = {}
    for opinion in latest(list(opinions)):
        by_person.setdefault(opinion.who, {})[opinion.key] = opinion.label
    found = []
    for one, other in combinations(sorted(by_person), 2):
        common = [key for key in by_person[one] if key in by_person[other]]
        if not common:
            continue
        first, second = (np.array([by_person[who][key] for key in common]) for who in (one, other))
        found.append(
            PeopleAgreement(
                one=one,
                other=other,
                equal=int((first == second).sum()),
                episodes=len(common),
                kappa=cohens_kappa(first, second),
            )
        )
    return tuple(found)
