# h5py's low-level interface has no types.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""Detection of HDF5 content that lies in other files.

There are three kinds: external links, external storage, and virtual datasets of other files. HDF5
follows all of them without asking, including soft links through external ones. A file with any of
them is refused before anything in it is read.
"""

from functools import lru_cache
from pathlib import Path

import h5py

from worldeval.data.finding import DataError, OutsideError
from worldeval.hdf5_heaps import open_hdf5

CHECKED = 4096  # files whose check is cached while they are unchanged


def refuse_ways_out(path: Path, state: tuple[int, int]) -> None:
    """Check every link and dataset of the file, once as long as its `state` stays the same.

    Raises:
        DataError: one of them leads outside the file.
        OSError: it is not an HDF5 file.
    """
    found = _ways_out(path, state)
    if found is not None:
        raise OutsideError(path, *found, "Copy the values into this file (h5copy).")


@lru_cache(maxsize=CHECKED)
def _ways_out(path: Path, _state: tuple[int, int]) -> tuple[str, str] | None:
    """Find the first field that leads outside the file, and describe its target."""
    found: list[tuple[str, str]] = []
    with open_hdf5(path) as file:

        def link(name: bytes, info: h5py.h5l.LinkInfo) -> None:
            # HDF5 lists links here without following them.
            if info.type == h5py.h5l.TYPE_EXTERNAL:
                other = file.get(name, getlink=True).filename
                found.append(
                    (
                        _text(name),
                        f"it is a link to {other}. Links to other files are not followed.",
                    )
                )
            elif info.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
                found.append(
                    (_text(name), "it is a link of an unknown kind, which is not followed.")
                )

        def item(name: bytes, info: h5py.h5o.ObjInfo) -> None:
            if info.type != h5py.h5o.TYPE_DATASET or found:
                return
            made = h5py.h5d.open(file.id, name).get_create_plist()
            if made.get_external_count():
                found.append(
                    (_text(name), "its values are stored in other files, which are not read.")
                )
            elif made.get_layout() == h5py.h5d.VIRTUAL:
                parts = {made.get_virtual_filename(i) for i in range(made.get_virtual_count())}
                if parts - {"."}:
                    found.append(
                        (
                            _text(name),
                            "it is a virtual dataset over other files, which are not read.",
                        )
                    )

        try:
            file.id.links.visit(link, info=True)
            if not found:
                h5py.h5o.visit(file.id, item, info=True)
        except (RuntimeError, KeyError, ValueError) as error:
            raise DataError(path, "file", f"its content cannot be listed ({error}).") from error
    return found[0] if found else None


def _text(name: bytes | str) -> str:
    return "/" + (name.decode("utf-8", "replace") if isinstance(name, bytes) else name)
