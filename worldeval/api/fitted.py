"""A table for a terminal that drops whole columns where it does not fit, instead of cutting them.

Names of policies are shortened first, then columns are dropped in the order that the table states,
and if even that is too wide, every row becomes a few lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from worldeval.report.short_names import short_names

EDGE = 3  # characters between two columns: a line and a space on each side
COMFORT = 24  # characters of a name that are kept before columns are dropped
WHERE = "All columns: --json, or a wider terminal."


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    title: str
    cells: tuple[str, ...]
    drop: int = 0  # 0: always shown; of the others, the highest is dropped first
    right: bool = True  # alignment
    names: bool = False  # of policies, which may be shortened

    @property
    def width(self) -> int:
        """Characters of the widest cell."""
        return max(map(len, (self.title, *self.cells)))


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
        chosen = list(self.columns)
        while True:
            spare = [column for column in chosen if column.drop]
            fitting = _named(chosen, width, COMFORT if spare else 1)
            if fitting is not None:
                yield _table(self.title, fitting)
                break
            if not spare:
                yield Text(self.title, style="italic")
                yield from _lines(chosen)
                break
            chosen.remove(max(spare, key=lambda column: column.drop))
        left = [column.title for column in self.columns if column not in chosen]
        if left:
            yield Text(f"Not shown in {width} columns: {', '.join(left)}. {WHERE}", style="dim")


def _named(columns: Sequence[Column], width: int, least: int) -> list[Column] | None:
    """Shorten the names so that the columns fit, to no less than `least`; None if they do not."""
    over = sum(column.width + EDGE for column in columns) + 1 - width
    if over <= 0:
        return list(columns)
    out = []
    for column in columns:
        room = column.width - over
        short = short_names(column.cells, room) if column.names and room >= least else None
        if short is not None:
            cells = tuple(short[cell] for cell in column.cells)
            column = Column(title=column.title, cells=cells, right=column.right, names=True)
            over = 0
        out.append(column)
    return None if over > 0 else out


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
