"""A table for a terminal that leaves out whole columns that do not fit, instead of cutting them.

Titles are folded and names of policies are shortened first. Then columns are added in the order
that the table states, as far as they fit. If even those that must be shown are too wide, every row
becomes a few lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from worldeval.report.short_names import short_names

EDGE = 3  # characters between two columns: a line and a space on each side
COMFORT = 24  # characters of a name that are kept for another column
WHERE = "All columns: --json, or a wider terminal."


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    title: str
    cells: tuple[str, ...]
    order: int = 0  # in which columns are added where there is room; 0: always shown
    right: bool = True  # alignment
    names: bool = False  # of policies, which may be shortened

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        return max(map(len, (*self.title.split("\n"), *self.cells)))


@dataclass(frozen=True, kw_only=True)
class FittedTable:
    """A table whose columns are chosen when the width of the terminal is known."""

    title: str
    columns: tuple[Column, ...]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield from self.fit(options.max_width)

    def fit(self, width: int) -> Iterator[RenderableType]:
        """Yield the table for a terminal of `width` characters, and what it leaves out."""
        chosen = [column for column in self.columns if not column.order]
        fitting = _named(chosen, width, 1)
        for spare in sorted(self.columns, key=lambda column: column.order):
            wanted = [column for column in self.columns if column in (*chosen, spare)]
            if spare.order and (found := _named(wanted, width, COMFORT)) is not None:
                chosen, fitting = wanted, found
        if fitting is not None:
            yield _table(self.title, fitting)
        else:
            yield Text(self.title, style="italic")
            yield from _lines(chosen)
        left = [column.title for column in self.columns if column not in chosen]
        if left:
            yield Text(f"Not shown in {width} columns: {', '.join(left)}. {WHERE}", style="dim")


def _named(columns: Sequence[Column], width: int, least: int) -> list[Column] | None:
    """Shorten the names so that the columns fit, to no less than `least`; None if they do not."""
    over = _over(columns, width)
    if over <= 0:
        return list(columns)
    columns = [replace(column, title=column.title.replace(" ", "\n")) for column in columns]
    over = _over(columns, width)
    out = []
    for column in columns:
        room = column.width - over
        short = short_names(column.cells, room) if column.names and room >= least else None
        if over > 0 and short is not None:
            column = replace(column, cells=tuple(short[cell] for cell in column.cells))
            over = 0
        out.append(column)
    return None if over > 0 else out


def _over(columns: Sequence[Column], width: int) -> int:
    """Return by how many characters a table of these columns is too wide."""
    return sum(column.width + EDGE for column in columns) + 1 - width


def _table(title: str, columns: Sequence[Column]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


def _lines(columns: Sequence[Column]) -> Iterator[Text]:
    """Yield every row as its first cells up to the name, and a line with the rest."""
    place = next((k for k, column in enumerate(columns) if column.names), 0) + 1
    head, rest = columns[:place], columns[place:]
    for row in range(len(columns[0].cells)):
        yield Text(" ".join(column.cells[row] for column in head), style="bold", overflow="fold")
        told = (f"{column.title} {column.cells[row] or '-'}" for column in rest)
        yield Text(f"  {', '.join(told)}", overflow="fold")
