"""Safe reading of the files of an untrusted dataset: nothing outside its folder is read.

A snapshot in the Hugging Face Hub's cache consists of links into the `blobs` of its own repository,
which count as inside. Claimed sizes are bounded by what a file of its size can hold.

All failures are a `DataError` that names the file and the field.
"""

import json
import math
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.data.finding import DataError, OutsideError

SMALL = 64 << 20  # bytes that are read whatever they were unpacked from
TIGHT = 100  # times that the numbers of a robot can be packed
LOOSE = 1032  # times that DEFLATE can pack anything, such as black pictures
MAX_FPS = 1000.0  # faster than any camera of a robot: the number is wrong


def inside(root: Path, relative: str, *, owner: Path, field: str) -> Path:
    """Return the path of the file `relative` of the dataset `root`, refusing paths that leave it.

    `owner` and `field` are the file and entry that named it, for error messages.
    """
    try:
        path = root / relative
        if leads_out(root, path):
            raise OutsideError(
                owner,
                field,
                f"{relative!r:.200} points outside the dataset folder {root}.",
                "Only files inside it are read. Copy the file there and update its path.",
            )
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise DataError(owner, field, f"the file {root / relative} does not exist.") from error
    except (OSError, ValueError) as error:  # too long a name, a NUL or half a surrogate in it
        raise DataError(
            owner, field, f"{relative!r:.200} is not a valid file name ({error})."
        ) from error
    if not stat.S_ISREG(mode):
        raise DataError(owner, field, f"{path} is not a regular file.")
    return path


def own_file(root: Path, path: Path) -> Path:
    """Return a file found in the dataset `root`, refusing links that lead out of it."""
    return inside(root, str(path.relative_to(root)), owner=path, field="file")


def leads_out(root: Path, path: Path) -> bool:
    """Return whether a path of the dataset `root` leads out of it, following links."""
    # resolve() follows symbolic links, so a link that points outside is seen as well.
    end, top = path.resolve(), root.resolve()
    if end.is_relative_to(top):
        return False
    # .../datasets--org--name/snapshots/<commit>/... links into .../datasets--org--name/blobs/.
    snapshot = next((p for p in (top, *top.parents) if p.parent.name == "snapshots"), None)
    return snapshot is None or end.parent != snapshot.parent.parent / "blobs"


def listed(root: Path, *patterns: str) -> list[Path]:
    """List the files of a dataset that match a pattern, sorted by name.

    Files that macOS creates on foreign disks (`._name`) are ignored.
    """
    found = {path for pattern in patterns for path in root.glob(pattern)}
    return sorted(p for p in found if not any(x.startswith("._") for x in p.parts[-2:]))


def bounded(claimed: int, stored: int, path: Path, field: str, *, expansion: int = TIGHT) -> None:
    """Refuse data whose claimed unpacked size is far larger than the stored bytes allow."""
    if claimed > SMALL and claimed > expansion * stored:
        raise DataError(
            path,
            field,
            f"it states {claimed / 2**20:,.0f} MiB, but {stored / 2**20:,.1f} MiB are stored.",
            "Copy or write the file again.",
        )


def load_json(path: Path, root: Path | None = None) -> dict[str, Any]:
    """Read a JSON object; the file must be inside the dataset `root`, if given."""
    if root is not None and path.exists():
        own_file(root, path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(path, "file", "the file does not exist.") from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: bad JSON, bad UTF-8
        raise DataError(path, "file", f"it is not readable JSON ({error}).") from error
    if not isinstance(content, dict):
        raise DataError(path, "file", f"expected a JSON object, found {type(content).__name__}.")
    return content


def need(content: Mapping[str, Any], key: str, kind: type | tuple[type, ...], path: Path) -> Any:
    """Return the value of `key`, checking that it has type `kind`."""
    if key not in content:
        raise DataError(
            path, key, f"the key is missing (available: {', '.join(content) or 'none'})."
        )
    value = content[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise DataError(path, key, f"{value!r:.80} has the wrong type ({type(value).__name__}).")
    return value


def rate(value: object, path: Path, field: str = "fps") -> float:
    """Parse a plausible rate in frames per second."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise DataError(path, field, f"{value!r:.80} is not a valid number of frames per second.")
    fps = float(value)
    if not (math.isfinite(fps) and 0 < fps <= MAX_FPS):
        raise DataError(path, field, f"{fps} frames per second is not between 0 and {MAX_FPS:.0f}.")
    return fps


def numbers(
    value: object, path: Path, field: str, *, columns: int | None = None
) -> Float32[Array, "t d"]:
    """Parse a table of finite numbers with one row per frame; a flat list is one column."""
    try:
        table = np.asarray(value)
    except ValueError as error:
        raise DataError(path, field, f"its rows have different lengths ({error}).") from error
    if table.dtype.kind not in "fiub":
        raise DataError(path, field, f"it contains {table.dtype}, not numbers.")
    table = table.astype(np.float32)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or (columns is not None and table.shape[1] != columns):
        wanted = f"(frames, {columns})" if columns is not None else "(frames, dimensions)"
        raise DataError(path, field, f"its shape is {table.shape}; expected {wanted}.")
    bad = ~np.isfinite(table)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            path,
            f"{field}[{row}][{column}]",
            f"the value is {table[row, column]} ({bad.sum()} such values).",
            "Remove these frames, or fill them with the last valid value.",
        )
    return table
