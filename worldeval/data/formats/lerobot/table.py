"""Columns of a LeRobot dataset's tables as arrays."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from worldeval.axes import Array, Float32
from worldeval.data.files import numbers
from worldeval.data.finding import DataError
from worldeval.data.formats.lerobot.index import read_table
from worldeval.data.formats.lerobot.layout import SUCCESS
from worldeval.data.truth import truth

OPEN_TABLES = 4  # data files kept in memory; each takes at most about 100 MB


@lru_cache(maxsize=OPEN_TABLES)
def read_columns(file: Path, columns: tuple[str, ...], *_identity: int) -> pa.Table:
    """Read columns of a parquet file and cache them; `_identity` reveals a changed file."""
    return read_table(file, columns)


def matrix_of(column: pa.ChunkedArray, file: Path, name: str) -> Float32[Array, "t d"]:
    """Convert a column of numbers, or of lists of equal length, to one row per frame."""
    plain = pa.concat_arrays(column.chunks)
    if column.null_count:
        raise DataError(file, name, f"{column.null_count} rows are empty.")
    if not pa.types.is_list(plain.type) and not pa.types.is_fixed_size_list(plain.type):
        return numbers(plain.to_numpy(zero_copy_only=False), file, name)
    sizes = pc.call_function("list_value_length", [plain]).unique().to_pylist()
    if len(sizes) != 1 or not sizes[0]:
        raise DataError(
            file,
            name,
            f"its rows have different lengths ({sizes[:5]}); expected vectors of one length.",
        )
    flat = plain.flatten().to_numpy(zero_copy_only=False)
    return numbers(flat.reshape(len(plain), sizes[0]), file, name)


def truths_of(column: pa.ChunkedArray, file: Path) -> list[bool | None]:
    """Return the success of every row, in whatever form it is stored."""
    return [truth_of(cell, file, SUCCESS) for cell in column.to_pylist()]


def truth_of(value: Any, file: Path, field: str) -> bool | None:
    """Return a success stored in any form; None if it is unknown."""
    try:
        return truth(value, unknown=-1)
    except ValueError as error:
        raise DataError(file, field, f"{error}.") from error
