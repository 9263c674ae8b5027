"""Errors of every part of a robot, as a table."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def part_table(rows: Mapping[str, Any], text: Callable[[Any], str]) -> "Table | None":
    """Tabulate the errors of every part of a robot by horizon; None if there is one or none.

    The error of a robot whose pose is one position is in the other tables.
    """
    from rich.table import Table

    units = {
        name: part["unit"]
        for row in rows.values()
        for name, part in (row.get("parts") or {}).items()
    }
    if len(units) < 2:
        return None
    table = Table(title="error of the predicted pose, by part", box=None)
    table.add_column("horizon")
    for name, unit in units.items():
        table.add_column(f"{name} ({unit})" if unit else name, justify="right")
    for horizon, row in rows.items():
        parts = row.get("parts") or {}
        table.add_row(
            horizon[1:], *(text(parts[name]["error"]) if name in parts else "" for name in units)
        )
    return table
