"""Checksums beside the tables of a run: a bit that flips on a disk changes no outcome unseen.

`.NAME.sha256` beside `NAME` holds the SHA-256 of its content, as `sha256sum` writes it. It is
checked whenever the file is read. A file without one is read as it is: an older version wrote it,
or a person.

The order of writing leaves no moment in which a whole file has a wrong checksum: the old one goes
first, and the new one comes last.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldeval.errors import UserError
from worldeval.run import whole_file
from worldeval.runs.files import AGAIN


def beside(path: Path) -> Path:
    """Where the checksum of a file is."""
    return path.with_name(f".{path.name}.sha256")


@contextmanager
def keep(path: Path) -> Iterator[None]:
    """Write a file inside, and it has a checksum afterwards."""
    beside(path).unlink(missing_ok=True)
    yield
    with whole_file(beside(path)) as draft:
        draft.write_text(f"{digest(path)}  {path.name}\n", encoding="utf-8")


def check(path: Path, *, remedy: str = AGAIN) -> None:
    """Refuse a file that is not as it was written.

    Args:
        path: of the file.
        remedy: what to do about it; a sentence.

    Raises:
        UserError: its checksum differs.
    """
    if not intact(path):
        raise UserError(
            f"{path} is damaged, or was changed by hand: it differs from its checksum. "
            f"{remedy} To keep a change of your own, remove {beside(path)}."
        )


def intact(path: Path) -> bool:
    """Whether a file is as it was written; True where nobody can say."""
    try:
        said = beside(path).read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return True
    return said[:1] == [digest(path)]


def move(path: Path, target: Path) -> Path:
    """Rename a file together with its checksum."""
    if beside(path).is_file():
        beside(path).rename(beside(target))
    return path.rename(target)


def remove(path: Path) -> None:
    """Delete a file together with its checksum."""
    path.unlink()
    beside(path).unlink(missing_ok=True)


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
