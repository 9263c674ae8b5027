# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
"""Reading and writing of all tables of a run.

Names are always text: a policy named `010000`, `1e5`, `NA`, `None` or `true` keeps its name. Cells
that a spreadsheet would run as a formula are written with a leading apostrophe, as spreadsheets do
themselves, and read without it.
"""

import csv
import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.errors import UserError
from worldeval.files import whole_file
from worldeval.runs.checksums import check, keep
from worldeval.runs.paths import IMAGINED, RunPaths
from worldeval.runs.user_csv import read_user_csv
from worldeval.stats.outcomes import COLUMNS, OPTIONAL, REQUIRED, Outcomes, from_frame

TEXTS = ("policy", "task", "start", "lineage")
NUMBERS = ("step", "score", "success", "reached", "frames", "progress", "disagreement", "mended")
KEY = ("policy", "task", "start", "seed")  # identifies an imagined episode
FORMULA = re.compile(r"'*[=+\-@\t\r]")  # cells that a spreadsheet may run, or that were escaped
ESCAPED = re.compile(r"'+[=+\-@\t\r]")
WHOLE = re.compile(r"[+-]?\d{1,18}")


def read_table(path: Path, *, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a table of a run: policy, task, start and lineage as text, the rest as numbers.

    An empty name is "", an empty number is NaN. Unknown columns that are not numeric stay text.

    Args:
        path: a CSV file.
        needed: required columns.

    Raises:
        UserError: the file is missing, damaged, not a table, or lacks a column, or a numeric cell
            is not a number; the error names the line.
    """
    cells = read_cells(path, needed=needed)
    return pd.DataFrame({name: _column(path, name, cells[name]) for name in cells.columns})


def read_cells(path: Path, *, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read all cells of a table as the text that was written."""
    if not path.is_file():
        raise UserError(f"{path} does not exist.")
    check(path)
    try:
        table = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",  # spreadsheets write a byte order mark
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, OSError) as error:
        raise UserError(f"{path} is not a readable CSV: {' '.join(str(error).split())}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise UserError(f"{path} is not a readable CSV: some rows have more cells than its header.")
    if missing := [name for name in needed if name not in table.columns]:
        raise UserError(f"{path} has no column {', '.join(missing)}.")
    return table.map(_unescaped)


def write_table(
    path: Path, table: pd.DataFrame, *, durable: bool = False, edited: bool = False
) -> None:
    """Write a table atomically, with a checksum beside it.

    Args:
        path: a CSV file.
        table: any columns.
        durable: wait until the data are on disk.
        edited: write no checksum, because people will edit the file.
    """
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    written = table.assign(**{name: table[name].map(_escaped) for name in texts})
    with nullcontext() if edited else keep(path), whole_file(path, durable=durable) as draft:
        # Old versions of Python do not quote carriage returns.
        odd = any(written[name].astype(str).str.contains("\r").any() for name in texts)
        quoting = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
        written.to_csv(draft, index=False, quoting=quoting)


def read_outcomes(path: Path | str) -> Outcomes:
    """Read outcomes from any CSV file, of a run or your own; user_csv.py lists what is accepted.

    Raises:
        UserError: the file is missing or a row is invalid; the error names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist. Give a CSV file with columns {COLUMNS}.")
    check(path)
    cells = read_user_csv(path, known=(*REQUIRED, *OPTIONAL, "success", "score"))
    lines = tuple(cells.index)
    return from_frame(cells.map(_unescaped), source=str(path), lines=lines)


def read_side(run: Path, side: str, *, needed: tuple[str, ...]) -> pd.DataFrame:
    """Read the table of a run's side, `imagined` or `truth`.

    Raises:
        UserError: as for `read_table`, or seeds of imagined episodes are not whole numbers.
    """
    path = RunPaths(run).outcomes(side)
    table = read_table(path, needed=needed)
    if side == IMAGINED and "seed" in table and table["seed"].dtype.kind != "i":
        raise UserError(f"{path}: the seeds of imagined episodes must be whole numbers.")
    return table


def find_outcomes(run: Path, side: str) -> Outcomes | None:
    """Read the outcomes of a run's side, `imagined` or `truth`; None if it has none yet."""
    path = RunPaths(run).outcomes(side)
    return read_outcomes(path) if path.is_file() else None


def _column(path: Path, name: str, cells: pd.Series) -> pd.Series:
    if name in TEXTS:
        return cells
    # pandas' number parser is not used, because its last digit may differ from the text.
    if all(WHOLE.fullmatch(cell) for cell in cells):
        return pd.Series([int(cell) for cell in cells], dtype=np.int64)
    found = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        try:
            found[row] = float(cell) if cell else np.nan
        except ValueError as error:
            if name not in NUMBERS:
                return cells
            raise UserError(f"{path}, line {row + 2}: {name} '{cell}' is not a number.") from error
    return pd.Series(found)


def _escaped(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def _unescaped(cell: str) -> str:
    return cell[1:] if ESCAPED.match(cell) else cell
