"""Staging area of a dataset that is being written: complete episodes in `.<name>.part` beside it.

The dataset gets its name only when it is complete, so a partial dataset is never mistaken for a
complete one, and an interrupted conversion continues with the missing episodes.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldeval.errors import UserError
from worldeval.files import read_json, write_json


class Staging:
    """Staging area of one dataset, with at most one writer at a time."""

    def __init__(self, out: Path, description: Mapping[str, Any], *, fresh: bool = False) -> None:
        """Open the staging area.

        An interrupted conversion is continued only if its `description` is equal. With `fresh`, its
        remains are discarded instead.
        """
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out} already exists. Remove it, or give another name.")
        self.out, self.part = out, out.with_name(f".{out.name}.part")
        if fresh:
            shutil.rmtree(self.part, ignore_errors=True)
        described = json.loads(json.dumps(description))
        kept = self.part / "writing.json"
        if kept.is_file() and read_json(kept) != described:
            raise UserError(
                f"{self.part} was left by an interrupted conversion of another dataset "
                "(origin, rate, views or dimensions differ). Remove it to start again."
            )
        self.part.mkdir(parents=True, exist_ok=True)
        write_json(kept, described)

    def __len__(self) -> int:
        return len(self.episodes())

    def __contains__(self, place: int) -> bool:
        return self._folder(place).is_dir()

    def episodes(self) -> list[Path]:
        """Return the folders of complete episodes, in order."""
        return sorted(path for path in self.part.glob("[0-9]*") if not path.suffix)

    @contextmanager
    def episode(self, place: int) -> Iterator[Path]:
        """Open a folder to fill for the episode at `place`; it counts if the block succeeds."""
        folder = self._folder(place)
        draft = folder.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        yield draft
        os.replace(draft, folder)

    @contextmanager
    def whole(self) -> Iterator[Path]:
        """Open a path to assemble the dataset at; it gets its name if the block succeeds."""
        if not len(self):
            raise UserError(f"No episode was written to {self.out}, because no episode was given.")
        draft = self.part / "dataset"
        if draft.is_dir():
            shutil.rmtree(draft)
        yield draft
        if self.out.is_dir():
            self.out.rmdir()  # it is empty
        os.replace(draft, self.out)
        shutil.rmtree(self.part)

    def _folder(self, place: int) -> Path:
        return self.part / f"{place:08d}"
