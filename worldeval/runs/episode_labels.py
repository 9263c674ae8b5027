"""Labels that a judge gave to recorded episodes, and that a person confirmed, in a CSV file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from worldeval.errors import UserError
from worldeval.runs.labels import WORDS
from worldeval.runs.tables import read_cells, write_table

SUCCESS = {True: "true", False: "false", None: "unsure"}


@dataclass(frozen=True, kw_only=True)
class EpisodeLabel:
    """A judge's label of one recorded episode, and a person's. All are texts, empty if not given.

    `success` is empty where the judge abstains, `person` until somebody looked.
    """

    episode: str
    task: str
    success: str  # true, false, or empty
    probability: str  # of success, 0 to 1
    recorded: str  # what the dataset itself says: true, false, or empty
    judge: str
    reason: str = ""
    person: str = ""  # true, false or unsure
    who: str = ""
    when: str = ""  # ISO 8601, UTC


FIELDS = tuple(field.name for field in fields(EpisodeLabel))
BY_PERSON = ("person", "who", "when")


def read_labels(path: Path) -> list[EpisodeLabel]:
    """Read a file of labels; none if it does not exist.

    Raises:
        UserError: the file is of something else.
    """
    if not path.is_file():
        return []
    cells = read_cells(path)
    needed = [name for name in FIELDS if name not in BY_PERSON]
    if not set(needed) <= set(cells.columns) <= set(FIELDS):
        raise UserError(
            f"{path} is not a file of labels (its columns are {', '.join(cells.columns)}). Give "
            "the file that worldeval data label wrote."
        )
    rows = cells.to_dict("records")
    return [EpisodeLabel(**{str(name): str(cell) for name, cell in row.items()}) for row in rows]


def write_labels(path: Path, labels: Sequence[EpisodeLabel]) -> None:
    """Write a file of labels, whole or not at all."""
    table = pd.DataFrame([asdict(label) for label in labels], columns=list(FIELDS))
    write_table(path, table, edited=True)


def confirm(path: Path, episode: str, label: str, *, who: str) -> EpisodeLabel:
    """Write what a person says of an episode into its row: `success`, `failure` or `unsure`.

    The judge's own columns stay as they are.

    Raises:
        UserError: the file has no such episode, the label is another word, or `who` is empty.
    """
    if label not in WORDS:
        raise UserError(f"Unknown label '{label}'; choose one of {', '.join(WORDS)}.")
    if not who.strip():
        raise UserError("The label has no author. Give the name of the person who labels.")
    labels = read_labels(path)
    places = [place for place, each in enumerate(labels) if each.episode == episode]
    if not places:
        raise UserError(f"{path} has no episode '{episode}'.")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for place in places:
        labels[place] = replace(
            labels[place], person=SUCCESS[WORDS[label]], who=who.strip(), when=now
        )
    write_labels(path, labels)
    return labels[places[0]]


def with_people(
    labels: Sequence[EpisodeLabel], earlier: Sequence[EpisodeLabel]
) -> list[EpisodeLabel]:
    """Return `labels` with what people said in `earlier`, and rows that only `earlier` has."""
    said = {each.episode: each for each in earlier}
    out = [
        replace(each, **{name: getattr(said[each.episode], name) for name in BY_PERSON})
        if each.episode in said and said[each.episode].person
        else each
        for each in labels
    ]
    known = {each.episode for each in labels}
    return [*out, *(each for each in earlier if each.episode not in known)]
