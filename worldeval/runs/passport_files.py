"""The files behind a passport: their hashes, and whether they are still the same."""

import os
from dataclasses import dataclass
from pathlib import Path

from worldeval.runs.checksums import digest
from worldeval.runs.passport import HashedFile, Passport

FARTHEST = 2  # parents through which a path may lead; a file farther away is kept elsewhere
# Without these, or with others, the passport does not apply; the rest is evidence.
NEEDED = ("world card", "tokenizer", "dynamics", "judge card", "judge weights", "start frames")
UNCHANGED, CHANGED, MISSING, ELSEWHERE = "unchanged", "changed", "missing", "kept elsewhere"


@dataclass(frozen=True, kw_only=True)
class FileState:
    """A file of a passport as it is now."""

    file: HashedFile
    state: str  # 'unchanged', 'changed', 'missing' or 'kept elsewhere'

    @property
    def wrong(self) -> bool:
        """Whether the passport does not apply because of this file."""
        gone = self.state in (MISSING, ELSEWHERE) and self.file.role in NEEDED
        return self.state == CHANGED or gone


def hashed_file(role: str, path: Path, folder: Path) -> HashedFile:
    """Hash a file; its path is kept if it is needed or lies near the passport's `folder`."""
    near = os.path.relpath(path.resolve(), folder.resolve())
    inside = role in NEEDED or Path(near).parts.count("..") <= FARTHEST
    return HashedFile(role=role, name=path.name, path=near if inside else "", sha256=digest(path))


def file_states(folder: Path, passport: Passport) -> list[FileState]:
    """Compare every file of the passport in `folder` with its hash."""
    return [FileState(file=file, state=_state(folder, file)) for file in passport.files]


def _state(folder: Path, file: HashedFile) -> str:
    if not file.path:
        return ELSEWHERE
    path = folder / file.path
    if not path.is_file():
        return MISSING
    return UNCHANGED if digest(path) == file.sha256 else CHANGED
