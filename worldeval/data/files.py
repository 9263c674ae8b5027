"""Reading the files of somebody else's dataset: nothing outside its folder, no surprises.

Every failure is a `DataError` that names the file and the field.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.data.finding import DataError

MAX_FPS = 1000.0  # faster than any camera of a robot: the number is wrong


def inside(root: Path, relative: str, *, owner: Path, field: str) -> Path:
    """The file `relative` of the dataset `root`; refused where it leaves that folder.

    `owner` and `field` say which entry of which file named it.
    """
    path = root / relative
    # resolve() follows symbolic links, so a link that points outside is seen as well.
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(
            owner,
            field,
            f"{relative!r} leaves the dataset folder {root}.",
            "Only files inside it are read; copy the file in and name it there.",
        )
    if not path.is_file():
        raise DataError(owner, field, f"the file {path} does not exist.")
    return path


def load_json(path: Path) -> dict[str, Any]:
    """A JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(path, "file", "it does not exist.") from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: bad JSON, bad UTF-8
        raise DataError(path, "file", f"it is not readable JSON ({error}).") from error
    if not isinstance(content, dict):
        raise DataError(path, "file", f"it holds a {type(content).__name__}, not a JSON object.")
    return content


def need(content: Mapping[str, Any], key: str, kind: type | tuple[type, ...], path: Path) -> Any:
    """The value under `key`, of type `kind`."""
    if key not in content:
        raise DataError(path, key, f"the key is missing (there is {', '.join(content) or 'none'}).")
    value = content[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise DataError(path, key, f"{value!r:.80} has the wrong type ({type(value).__name__}).")
    return value


def rate(value: object, path: Path, field: str = "fps") -> float:
    """A believable rate in frames a second."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise DataError(path, field, f"{value!r:.80} is not a number of frames a second.")
    fps = float(value)
    if not (math.isfinite(fps) and 0 < fps <= MAX_FPS):
        raise DataError(path, field, f"{fps} frames a second is not between 0 and {MAX_FPS:.0f}.")
    return fps


def numbers(
    value: object, path: Path, field: str, *, columns: int | None = None
) -> Float32[Array, "t d"]:
    """A table of finite numbers with a row per frame; a flat list is one column."""
    try:
        table = np.asarray(value)
    except ValueError as error:
        raise DataError(path, field, f"its rows have different lengths ({error}).") from error
    if table.dtype.kind not in "fiub":
        raise DataError(path, field, f"it holds {table.dtype}, not numbers.")
    table = table.astype(np.float32)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or (columns is not None and table.shape[1] != columns):
        wanted = f"(frames, {columns})" if columns is not None else "(frames, dimensions)"
        raise DataError(path, field, f"its shape is {table.shape}, where {wanted} is needed.")
    bad = ~np.isfinite(table)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            path,
            f"{field}[{row}][{column}]",
            f"the value is {table[row, column]} ({bad.sum()} such values).",
            "Cut these frames out, or fill them with the last good value.",
        )
    return table
