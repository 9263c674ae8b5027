"""What columns mean, as text that datasets keep, so that a converted dataset needs no map."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from worldeval.config import build
from worldeval.data.columns import ColumnGroup, ColumnMeanings, Groups, names
from worldeval.data.data_map import NumbersMap
from worldeval.data.finding import DataError
from worldeval.errors import UserError

COLUMNS = "column_meanings"  # the name under which HDF5 files keep it
SIDES = ("action", "pose")


def described(group: ColumnGroup) -> dict[str, Any]:
    """The fields of a group that differ from the defaults, as a map has them."""
    out: dict[str, Any] = {"names": list(group.names), "means": group.means}
    for each in fields(group):
        value = getattr(group, each.name)
        if each.name not in ("names", "means") and value != each.default:
            out[each.name] = value
    return out


def fitting(meaning: ColumnMeanings, **found: Sequence[str]) -> ColumnMeanings:
    """Keep the sides of a meaning that describe exactly the columns `action` and `pose`."""
    kept = {side: getattr(meaning, side) for side in SIDES}
    return ColumnMeanings(
        **{side: groups for side, groups in kept.items() if names(groups) == tuple(found[side])}
    )


def write_meaning(meaning: ColumnMeanings) -> str:
    """Format a meaning as JSON; "" if it says nothing."""
    sides = {side: [described(group) for group in getattr(meaning, side)] for side in SIDES}
    said = {side: groups for side, groups in sides.items() if groups}
    return json.dumps(said, ensure_ascii=False) if said else ""


def read_meaning(
    said: str | Mapping[str, Any], where: Path, **found: Sequence[str]
) -> ColumnMeanings:
    """Parse a meaning, of which sides that describe other columns than `found` are left out.

    Raises:
        DataError: it is not what `write_meaning` writes.
    """
    try:
        raw = json.loads(said or "{}") if isinstance(said, str) else said
        if not isinstance(raw, Mapping) or not set(raw) <= set(SIDES):
            raise ValueError(f"it has other keys than {', '.join(SIDES)}")
        sides: dict[str, Groups] = {
            side: build(NumbersMap, {"columns": groups}, where=side).columns
            for side, groups in raw.items()
        }
    except (ValueError, RecursionError, UserError) as error:
        raise DataError(where, COLUMNS, f"it cannot be read ({error}).") from error
    return fitting(ColumnMeanings(**sides), **found)
