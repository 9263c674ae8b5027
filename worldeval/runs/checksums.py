"""Checksums beside the tables of a run, so that disk corruption cannot change outcomes unnoticed.

`.NAME.sha256` beside `NAME` holds the SHA-256 of its content in the format of `sha256sum`. It is
verified whenever the file is read. A file without a checksum is read as it is, because it was
written by an older version or by hand.

Files are written in an order that never leaves a complete file with a wrong checksum: the old
checksum is removed first, and the new one is written last.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldeval.errors import UserError
from worldeval.files import whole_file
from worldeval.runs.files import AGAIN


def beside(path: Path) -> Path:
    """Return the path of a file's checksum."""
    return path.with_name(f".{path.name}.sha256")


@contextmanager
def keep(path: Path) -> Iterator[None]:
    """Write a file inside this context; it has a checksum afterwards."""
    beside(path).unlink(missing_ok=True)
    yield
    with whole_file(beside(path)) as draft:
        draft.write_text(f"{digest(path)}  {path.name}\n", encoding="utf-8")


def check(path: Path, *, remedy: str = AGAIN) -> None:
    """Refuse a file whose content differs from its checksum.

    Args:
        path: path of the file.
        remedy: sentence that tells the user what to do.

    Raises:
        UserError: the checksum differs.
    """
    if not intact(path):
        raise UserError(
            f"{path} is damaged or was edited: its content differs from its checksum. "
            f"{remedy} To keep your own edit, remove {beside(path)}."
        )


def intact(path: Path) -> bool:
    """Return whether a file matches its checksum; True if it has none."""
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
    """Compute the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
