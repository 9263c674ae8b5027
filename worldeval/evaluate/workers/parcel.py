"""Folders as one piece, to be sent to a machine that has none of them."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worldeval.run import whole_file

Folder = Mapping[str, bytes]  # path inside the folder -> content


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What folders hold, by the names that they have where they were packed."""

    folders: Mapping[str, Folder] = field(repr=False)

    @staticmethod
    def of(names: Iterable[str]) -> "Parcel":
        """The folders among these names; what is none (a server, Python code, "") stays."""
        found = {name: Path(name) for name in names if name and Path(name).is_dir()}
        return Parcel(
            folders={
                name: {
                    path.relative_to(folder).as_posix(): path.read_bytes()
                    for path in sorted(folder.rglob("*"))
                    if path.is_file()
                }
                for name, folder in found.items()
            }
        )

    def unpack(self) -> dict[str, str]:
        """Write the folders into the user's cache; returns name -> where it is.

        A folder is known by its content: what an earlier worker unpacked is used again.
        """
        places = {}
        for name, files in self.folders.items():
            place = _cache() / "worldeval" / "parcels" / _known_by(files)
            for inside, content in files.items():
                path = place / inside
                if not path.is_file() or path.stat().st_size != len(content):
                    with whole_file(path) as draft:
                        draft.write_bytes(content)
            places[name] = str(place)
        return places


def _cache() -> Path:
    # Not the common temporary folder, where others might put a folder of that name first.
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _known_by(files: Folder) -> str:
    digest = hashlib.sha256()
    for inside, content in files.items():
        digest.update(f"{inside}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:24]
