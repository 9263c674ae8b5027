"""Numbers as a run folder holds them and as a reader meets them."""

from typing import Any

import pytest

from worldeval.report.number import Number, number, seconds, short


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (0.5, "0.50"),
        ({"value": 0.5, "low": 0.25, "high": 1}, "0.50 [0.25, 1.00]"),
        ({"value": None, "low": None, "high": None}, "–"),  # noqa: RUF001
        ({"value": -0.001, "low": -0.2, "high": 0.2}, "0.00 [−0.20, 0.20]"),  # noqa: RUF001
    ],
)
def test_a_number_reads_as(raw: Any, text: str) -> None:
    assert str(number(raw)) == text


@pytest.mark.parametrize("raw", [None, "0.5", True, float("nan"), [0.5], {"mean": 0.5}])
def test_anything_else_is_no_number(raw: Any) -> None:
    assert number(raw) is None


def test_an_interval_needs_both_ends() -> None:
    assert Number(value=0.5, low=0.1).interval == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.081, "0.081 s"), (9.6, "9.6 s"), (42, "42 s"), (430, "7 min"), (7500, "2 h 05 min")],
)
def test_seconds_are_read_as(value: float, text: str) -> None:
    assert seconds(value) == text


def test_short_has_two_decimals() -> None:
    assert short(1) == "1.00"
