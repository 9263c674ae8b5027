"""Gates: passed, failed, or not decided."""

from typing import Any

import pytest

from worldeval.evaluate import gates as evaluate_gates
from worldeval.evaluate import summary as evaluate_summary
from worldeval.report import gates
from worldeval.report.gates import read_gates


def between(low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": 0.2, "low": low, "high": high}


@pytest.mark.parametrize(
    ("name", "raw", "passed"),
    [
        ("false_success", between(0.1, 0.3), True),
        ("false_success", between(0.1, 0.31), False),
        ("near_miss_false_success", between(0.1, 0.2), True),
        ("false_success", 0.0, None),  # no failure in how many?
        ("action_effect", between(0.3, 0.9), True),
        ("action_effect", between(0.1, 0.9), False),
        ("true_success", between(0.1, 0.9), None),
        ("something_new", between(0.1, 0.9), None),
        ("something_new", {**between(0.1, 0.9), "threshold": 0.5, "passed": False}, False),
    ],
)
def test_a_gate_holds_by_the_end_of_its_interval(name: str, raw: Any, passed: bool | None) -> None:
    (gate,) = read_gates({name: raw})
    assert gate.passed is passed


def test_parts_of_a_gate_are_gates() -> None:
    found = read_gates(
        {"action_effect": {"zeroed": between(0.5, 0.9), "shuffled": between(0, 0.1)}}
    )
    assert [(gate.title, gate.passed) for gate in found] == [
        ("Effect of the actions: zeroed", True),
        ("Effect of the actions: shuffled", False),
    ]


@pytest.mark.parametrize("raw", [None, [], {"false_success": "x"}, {"a": {"b": {"c": 1}}}])
def test_what_is_no_gate_is_left_out(raw: Any) -> None:
    assert read_gates(raw) == ()


def test_the_bounds_are_those_of_the_findings() -> None:
    assert gates.NEAR_MISS == evaluate_summary.NEAR_MISS
    assert gates.ACTION_EFFECT == evaluate_gates.ACTION_EFFECT
