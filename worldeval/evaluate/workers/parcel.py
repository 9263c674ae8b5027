"""Folders packed into one object, to be sent to a machine that has none of them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worldeval.files import user_cache, whole_file

Folder = Mapping[str, bytes]  # path inside the folder -> content


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Contents of folders, by their names on the machine that packed them."""

    folders: Mapping[str, Folder] = field(repr=False)

    @staticmethod
    def of(names: Iterable[str]) -> "Parcel":
        """Pack the folders among these names; others (a server, Python code, "") are skipped."""
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
        """Write the folders into the user's cache, and return name -> location.

        Folders are identified by content, so those unpacked by an earlier worker are reused.
        """
        places = {}
        for name, files in self.folders.items():
            place = user_cache() / "parcels" / _known_by(files)
            for inside, content in files.items():
                path = place / inside
                if not path.is_file() or path.stat().st_size != len(content):
                    with whole_file(path) as draft:
                        draft.write_bytes(content)
            places[name] = str(place)
        return places


def _known_by(files: Folder) -> str:
    digest = hashlib.sha256()
    for inside, content in files.items():
        digest.update(f"{inside}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:24]
