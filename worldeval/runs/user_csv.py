"""CSV files that people and their spreadsheets wrote, read as text, cell by cell.

Accepted where only one reading is possible: commas, semicolons or tabs; UTF-8 or UTF-16 with or
without a mark; Excel's `sep=` line; headers in capitals; empty columns at the end (a trailing
comma); decimal commas where commas do not separate cells; names in another Unicode normalisation;
starts and seeds that a spreadsheet made 1.0 of 1. All else is refused with its line.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worldeval.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
NUMBERS = ("success", "score", "step")
COUNTS = ("start", "seed")  # where 1.0 is 1: a spreadsheet makes one of the other
WHOLE = re.compile(r"([+-]?\d+)[.,]0*")
DECIMAL = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))


def read_user_csv(path: Path, *, known: Sequence[str], needed: Sequence[str] = ()) -> pd.DataFrame:
    """Every cell of a table as text. Its index is the line that each row begins at.

    Args:
        known: columns that are found whatever their case; others keep their names.
        needed: columns that must be there.

    Raises:
        UserError: the file cannot be read in one way alone; the text names the cause, the line and
            what to do.
    """
    import pandas as pd

    text = _decoded(path)
    separator, text, skipped = _separator(path, text, known)
    rows = list(_rows(path, text, separator, skipped))
    if not rows:
        raise UserError(f"{path} is empty. Give a CSV with columns {', '.join(needed or known)}.")
    (_, header), rows = rows[0], rows[1:]
    header, rows = _without_empty_end(path, header, rows)
    names = _names(path, header, known)
    if missing := [name for name in needed if name not in names]:
        raise UserError(
            f"{path} has no column {', '.join(missing)} (it has: {', '.join(names)}; cells are "
            f"separated by {SEPARATORS[separator]})."
        )
    cells = [
        [_cell(cell, name, separator) for cell, name in zip(row, names, strict=True)]
        for _, row in rows
    ]
    return pd.DataFrame(cells, columns=pd.Index(names), index=[line for line, _ in rows], dtype=str)


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    # In UTF-16 every second byte of plain letters is zero.
    halves = {"utf-16-be": content[:200:2], "utf-16-le": content[1:200:2]}
    for name, half in halves.items():
        if half and half.count(0) > 0.9 * len(half):
            encoding = name
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        raise UserError(
            f"{path} is neither UTF-8 nor UTF-16 ({error}). Save it as 'CSV UTF-8'."
        ) from error
    if "\0" in text:
        raise UserError(f"{path} holds zero bytes, so it is no text. Save it as 'CSV UTF-8'.")
    return text


def _separator(path: Path, text: str, known: Sequence[str]) -> tuple[str, str, int]:
    """What separates cells, the text without Excel's `sep=` line, and how many lines that was."""
    first, _, rest = text.partition("\n")
    said = re.fullmatch(r'"?sep=(.)"?\s*', first.strip("\r"))
    if said:
        if said[1] not in SEPARATORS:
            raise UserError(f"{path}: cells are separated by '{said[1]}'. Save it with commas.")
        return said[1], rest, 1
    header = next((line for line in text.splitlines() if line.strip()), "")
    found = {}
    for separator in SEPARATORS:
        cells = next(csv.reader([header], delimiter=separator), [])
        found[separator] = sum(_plain(cell).casefold() in known for cell in cells)
    best = max(found.values(), default=0)
    fitting = [separator for separator, count in found.items() if count == best]
    if best and len(fitting) > 1 and best > 1:
        words = " or ".join(SEPARATORS[each] for each in fitting)
        raise UserError(f"{path}, line 1: cells may be separated by {words}. Use one of them.")
    if not best:  # columns of other names: what the header holds most of
        fitting = [max(SEPARATORS, key=header.count)]
    return fitting[0], text, 0


def _rows(path: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not blank, with the line that it begins at."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1 + skipped
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, row
            line = reader.line_num + 1 + skipped
    except csv.Error as error:
        raise UserError(
            f"{path}, line {line}: {error}. Close every quotation mark that is opened there."
        ) from error


def _without_empty_end(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows of one width: columns without name and content at the end are dropped."""
    width = len(header)
    while width and not header[width - 1].strip():
        width -= 1
    for place in range(width):
        if not header[place].strip():
            raise UserError(f"{path}, line 1: column {place + 1} has no name. Name or remove it.")
    out = []
    for line, row in rows:
        if any(cell.strip() for cell in row[width:]):
            raise UserError(
                f"{path}, line {line} has {len(row)} cells, and the header {width}. Put text that "
                "holds a separator into quotation marks."
            )
        if len(row) < width:
            raise UserError(f"{path}, line {line} has {len(row)} cells, and the header {width}.")
        out.append((line, row[:width]))
    return header[:width], out


def _names(path: Path, header: Sequence[str], known: Sequence[str]) -> list[str]:
    names = []
    for cell in header:
        plain = _plain(cell)
        names.append(plain.casefold() if plain.casefold() in known else plain)
    for name in names:
        places = [place + 1 for place, other in enumerate(names) if other == name]
        if len(places) > 1:
            listed = " and ".join(map(str, places))
            raise UserError(
                f"{path}, line 1: columns {listed} are both called '{name}'. Keep one of them, or "
                "rename the other."
            )
    return names


def _cell(cell: str, name: str, separator: str) -> str:
    plain = _plain(cell)
    if name in COUNTS and (whole := WHOLE.fullmatch(plain)):
        return whole[1]
    if name in NUMBERS and separator != "," and DECIMAL.fullmatch(plain):
        return plain.replace(",", ".")
    return plain


def _plain(cell: str) -> str:
    """Text as it is seen: composed letters (NFC), no invisible signs, no blanks around it."""
    return unicodedata.normalize("NFC", cell.translate(INVISIBLE)).replace("\xa0", " ").strip()
