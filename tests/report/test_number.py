"""Numbers as a reader meets them."""

import pytest

from worldeval.report.number import interval, seconds, short, shown
from worldeval.stats import Estimate


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(value=0.5), "0.50"),
        (Estimate(value=0.5, low=0.25, high=1), "0.50 [0.25, 1.00]"),
        (Estimate(value=None), "–"),  # noqa: RUF001
        (None, "–"),  # noqa: RUF001
        (Estimate(value=-0.001, low=-0.2, high=0.2), "0.00 [−0.20, 0.20]"),  # noqa: RUF001
    ],
)
def test_a_number_reads_as(estimate: Estimate | None, text: str) -> None:
    assert shown(estimate) == text


def test_an_interval_needs_both_ends() -> None:
    assert interval(Estimate(value=0.5, low=0.1)) == interval(None) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.081, "0.081 s"), (9.6, "9.6 s"), (42, "42 s"), (430, "7 min"), (7500, "2 h 05 min")],
)
def test_seconds_are_read_as(value: float, text: str) -> None:
    assert seconds(value) == text


def test_short_has_two_decimals() -> None:
    assert short(1) == "1.00"
