"""Labels that a judge gave to recorded episodes, in a CSV file."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from worldeval.errors import UserError
from worldeval.files import whole_file


@dataclass(frozen=True, kw_only=True)
class EpisodeLabel:
    """A judge's label of one recorded episode. `success` is empty where it abstains."""

    episode: str
    task: str
    success: str  # true, false, or empty
    probability: str  # of success, 0 to 1
    recorded: str  # what the dataset itself says: true, false, or empty
    judge: str
    reason: str = ""


def read_labels(path: Path) -> list[EpisodeLabel]:
    """Read a file of labels; none if it does not exist.

    Raises:
        UserError: the file is of something else.
    """
    if not path.is_file():
        return []
    names = [field.name for field in fields(EpisodeLabel)]
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if list(rows.fieldnames or ()) != names:
            raise UserError(
                f"{path} is not a file of labels (its columns are {rows.fieldnames}). Give another "
                "--out."
            )
        return [EpisodeLabel(**row) for row in rows]


def write_labels(path: Path, labels: Sequence[EpisodeLabel]) -> None:
    """Write a file of labels, whole or not at all."""
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(EpisodeLabel)])
        writer.writeheader()
        writer.writerows(asdict(label) for label in labels)
