"""A ranking in terminals of 60 to 140 columns: nothing is cut, what is left out is said."""

from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from rich.console import Console

from worldeval.api.fitted import Column, FittedTable
from worldeval.api.tables import ranking_table

LONG = ["pick-and-place-diffusion/step-24000", "pick-and-place-flow/step-200", "blind"]


def printed(table: FittedTable, width: int) -> str:
    console = Console(width=width, file=StringIO(), record=True, highlight=False)
    console.print(table)
    return console.export_text()


def ranking(names: list[str], *, tied: str = "ab") -> FittedTable:
    """The table of a run with every column."""
    count = range(len(names))
    rows = pd.DataFrame(
        {
            "rank": [k + 1 for k in count],
            "policy": names,
            "predicted": [0.9 - 0.1 * k for k in count],
            "low": [0.8 - 0.1 * k for k in count],
            "high": [0.96 - 0.1 * k for k in count],
            "imagined": [0.91 - 0.1 * k for k in count],
            "imagined_low": [0.87 - 0.1 * k for k in count],
            "imagined_high": [0.95 - 0.1 * k for k in count],
            "tied_group": [tied for _ in count],
            "p_best": [0.87, 0.1, 0.03][: len(names)],
            "measured": [0.93 - 0.1 * k for k in count],
            "measured_low": [0.86 - 0.1 * k for k in count],
            "measured_high": [0.97 - 0.1 * k for k in count],
            "validation_mse": [0.0123 * (k + 1) for k in count],
        }
    )
    return ranking_table(cast(Any, SimpleNamespace(policies=rows)))


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_rank_policy_prediction_and_ties_are_whole_at_every_width(width: int) -> None:
    text = printed(ranking(LONG), width)
    assert all(len(line) <= width for line in text.splitlines())
    for words in ("1", "step-24000", "step-200", "blind", "0.900 [0.80, 0.96]", "ab"):
        assert words in text, words
    lineages = ("pick-and-place-diffusion", "pick-and-place-flow")
    shown = [line for line in text.splitlines() if "/step-" in line]
    assert len({line.partition("/step-")[0].split()[-1] for line in shown}) == len(lineages)


@pytest.mark.parametrize(
    ("width", "left"),
    [
        (60, "as imagined, measured, validation MSE"),
        (80, "as imagined, validation MSE"),
        (100, "validation MSE"),
        (140, ""),
    ],
)
def test_columns_are_added_whole_in_the_stated_order(width: int, left: str) -> None:
    text = " ".join(printed(ranking(["bc/step-1", "bc/step-20", "blind"]), width).split())
    order = ", ".join(name for name in ORDER if name in left.split(", "))
    assert (f"Not shown in {width} columns: {order}." in text) == bool(left)
    head = text[: text.index("bc/step-1")]
    for name in ORDER:
        shown = set(name.split()) <= set(head.split())
        assert shown == (name not in left.split(", "))
    if "P(best)" in head:
        assert "0.87" in text
    if "validation MSE" in head:
        assert "0.0123" in text


ORDER = ("as imagined", "P(best)", "measured", "validation MSE")  # as they stand in the table


def test_a_row_becomes_lines_where_even_the_rest_is_too_wide() -> None:
    text = printed(ranking(LONG, tied="abcdefghijklmnopqrstuvw"), 60)
    assert "1 pick-and-place-diffusion/step-24000\n" in text
    assert "  predicted 0.900 [0.80, 0.96], tied group" in text
    assert "abcdefghijklmnopqrstuvw" in text


def test_a_column_that_does_not_fit_leaves_its_room_to_the_next() -> None:
    table = FittedTable(
        title="t",
        columns=(
            Column(title="kept", cells=("x" * 30,)),
            Column(title="last", cells=("y",), order=3),
            Column(title="first", cells=("w" * 40,), order=1),
            Column(title="next", cells=("z",), order=2),
        ),
    )
    assert "Not shown" not in printed(table, 100)
    narrow = printed(table, 42)
    assert "next" in narrow.partition("Not shown")[0]
    assert "Not shown in 42 columns: last, first." in " ".join(narrow.split())
    assert "x" * 30 in printed(table, 34)


def test_titles_are_folded_before_a_column_is_left_out() -> None:
    columns = (
        Column(title="kept", cells=("x",)),
        Column(title="long title", cells=("y",), order=1),
    )
    text = printed(FittedTable(title="t", columns=columns), 16)
    assert "long title" not in text and "long" in text and "title" in text
    assert "Not shown" not in text
