"""CSV files written by people and spreadsheets, read as text, cell by cell.

Accepted, as long as only one interpretation is possible: commas, semicolons or tabs; UTF-8 or
UTF-16 with or without a byte order mark; Excel's `sep=` line; headers in capitals; empty columns at
the end (a trailing comma); decimal commas if commas do not separate cells; names in another Unicode
normalisation; starts and seeds that a spreadsheet turned from 1 into 1.0. Everything else is
refused with its line number.
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
COUNTS = (
    "start",
    "seed",
)  # columns in which 1.0 means 1, because spreadsheets convert between them
WHOLE = re.compile(r"([+-]?\d+)[.,]0*")
DECIMAL = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))


def read_user_csv(path: Path, *, known: Sequence[str], needed: Sequence[str] = ()) -> pd.DataFrame:
    """Read all cells of a table as text. The index is the line at which each row begins.

    Args:
        known: columns that are recognised regardless of case; others keep their names.
        needed: required columns.

    Raises:
        UserError: the file is unreadable or ambiguous; the error names the cause, the line and
            what to do.
    """
    import pandas as pd

    text = _decoded(path)
    separator, text, skipped = _separator(path, text, known)
    rows = list(_rows(path, text, separator, skipped))
    if not rows:
        raise UserError(
            f"{path} is empty. Give a CSV file with columns {', '.join(needed or known)}."
        )
    (_, header), rows = rows[0], rows[1:]
    header, rows = _without_empty_end(path, header, rows)
    names = _names(path, header, known)
    if missing := [name for name in needed if name not in names]:
        raise UserError(
            f"{path} has no column {', '.join(missing)} (it has: {', '.join(names)}; the separator "
            f"is {SEPARATORS[separator]})."
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
        raise UserError(
            f"{path} contains zero bytes, so it is not a text file. Save it as 'CSV UTF-8'."
        )
    return text


def _separator(path: Path, text: str, known: Sequence[str]) -> tuple[str, str, int]:
    """Detect the separator; also return the text without Excel's `sep=` line, and lines skipped."""
    first, _, rest = text.partition("\n")
    said = re.fullmatch(r'"?sep=(.)"?\s*', first.strip("\r"))
    if said:
        if said[1] not in SEPARATORS:
            raise UserError(
                f"{path}: the separator '{said[1]}' is not supported. Save it with commas."
            )
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
        raise UserError(
            f"{path}, line 1: the separator is ambiguous; it may be {words}. Use only one of them."
        )
    if not best:  # no known column: take the most frequent separator of the header
        fitting = [max(SEPARATORS, key=header.count)]
    return fitting[0], text, 0


def _rows(path: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Iterate over the rows that are not blank, with the line at which each begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1 + skipped
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, row
            line = reader.line_num + 1 + skipped
    except csv.Error as error:
        raise UserError(
            f"{path}, line {line}: {error}. Close all quotation marks opened on that line."
        ) from error


def _without_empty_end(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return header and rows of equal width, dropping empty unnamed columns at the end."""
    width = len(header)
    while width and not header[width - 1].strip():
        width -= 1
    for place in range(width):
        if not header[place].strip():
            raise UserError(
                f"{path}, line 1: column {place + 1} has no name. Name it, or remove the column."
            )
    out = []
    for line, row in rows:
        if any(cell.strip() for cell in row[width:]):
            raise UserError(
                f"{path}, line {line} has {len(row)} cells, but the header has {width}. Put text "
                "that contains a separator in quotation marks."
            )
        if len(row) < width:
            raise UserError(
                f"{path}, line {line} has {len(row)} cells, but the header has {width}."
            )
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
    """Normalise text to its visible form: NFC, no invisible characters, no surrounding blanks."""
    return unicodedata.normalize("NFC", cell.translate(INVISIBLE)).replace("\xa0", " ").strip()
