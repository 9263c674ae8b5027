# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
"""Every table of a run: one reader and one writer.

Names are text, whatever they look like: a policy named `010000`, `1e5`, `NA`, `None` or `true`
keeps its name. What a spreadsheet would run as a formula is written with an apostrophe before it,
as spreadsheets do themselves, and read without.
"""

import csv
import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.errors import UserError
from worldeval.run import whole_file
from worldeval.runs.checksums import check, keep
from worldeval.runs.paths import IMAGINED, RunPaths
from worldeval.runs.user_csv import read_user_csv
from worldeval.stats.outcomes import COLUMNS, OPTIONAL, REQUIRED, Outcomes, from_frame

TEXTS = ("policy", "task", "start", "lineage")
NUMBERS = ("step", "score", "success", "reached", "frames", "disagreement", "mended")
KEY = ("policy", "task", "start", "seed")  # what an imagined episode is known by
FORMULA = re.compile(r"'*[=+\-@\t\r]")  # a cell that a spreadsheet may run, or one that was escaped
ESCAPED = re.compile(r"'+[=+\-@\t\r]")
WHOLE = re.compile(r"[+-]?\d{1,18}")


def read_table(path: Path, *, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """A table of a run: policy, task, start and lineage as text, all else as numbers.

    An empty name is "", an empty number is NaN. A column that is no number and none that a run
    writes stays text.

    Args:
        path: a CSV file.
        needed: columns that must be there.

    Raises:
        UserError: the file is missing, damaged, no table, lacks a column, or holds a number that
            is none; the text names the line.
    """
    cells = read_cells(path, needed=needed)
    return pd.DataFrame({name: _column(path, name, cells[name]) for name in cells.columns})


def read_cells(path: Path, *, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """Every cell of a table as the text that was written."""
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
            encoding="utf-8-sig",  # spreadsheets put a mark before UTF-8
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, OSError) as error:
        raise UserError(f"{path} is not a readable CSV: {' '.join(str(error).split())}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise UserError(f"{path} is not a readable CSV: its rows have more cells than its header.")
    if missing := [name for name in needed if name not in table.columns]:
        raise UserError(f"{path} has no column {', '.join(missing)}.")
    return table.map(_unescaped)


def write_table(
    path: Path, table: pd.DataFrame, *, durable: bool = False, edited: bool = False
) -> None:
    """Write a table whole, with a checksum beside it.

    Args:
        path: a CSV file.
        table: any columns.
        durable: wait until the disk has it.
        edited: people will change it, so it has no checksum.
    """
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    written = table.assign(**{name: table[name].map(_escaped) for name in texts})
    with nullcontext() if edited else keep(path), whole_file(path, durable=durable) as draft:
        # Old versions of Python do not quote a carriage return by themselves.
        odd = any(written[name].astype(str).str.contains("\r").any() for name in texts)
        quoting = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
        written.to_csv(draft, index=False, quoting=quoting)


def read_outcomes(path: Path | str) -> Outcomes:
    """Outcomes of a CSV file, a run's or anybody's; see user_csv.py for what is accepted.

    Raises:
        UserError: the file is missing or a row of it is wrong; the text names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist. Give a CSV with columns {COLUMNS}.")
    check(path)
    cells = read_user_csv(path, known=(*REQUIRED, *OPTIONAL, "success", "score"))
    lines = tuple(cells.index)
    return from_frame(cells.map(_unescaped), source=str(path), lines=lines)


def read_side(run: Path, side: str, *, needed: tuple[str, ...]) -> pd.DataFrame:
    """The table of a run's side, `imagined` or `truth`.

    Raises:
        UserError: as `read_table`; or the seeds of imagined episodes are no whole numbers.
    """
    path = RunPaths(run).outcomes(side)
    table = read_table(path, needed=needed)
    if side == IMAGINED and "seed" in table and table["seed"].dtype.kind != "i":
        raise UserError(f"{path}: the seeds of imagined episodes must be whole numbers.")
    return table


def find_outcomes(run: Path, side: str) -> Outcomes | None:
    """The outcomes of a run's side, `imagined` or `truth`; None where it has none yet."""
    path = RunPaths(run).outcomes(side)
    return read_outcomes(path) if path.is_file() else None


def _column(path: Path, name: str, cells: pd.Series) -> pd.Series:
    if name in TEXTS:
        return cells
    # Not pandas' reader of numbers, whose last digit may differ from what was written.
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
