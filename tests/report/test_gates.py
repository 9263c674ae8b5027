"""Gates: passed, failed, or not decided."""

import pytest

from worldeval.evaluate import analysis
from worldeval.evaluate import gates as evaluate_gates
from worldeval.report import gates
from worldeval.report.gates import read_gates
from worldeval.stats import Estimate


def between(low: float | None, high: float | None) -> Estimate:
    return Estimate(value=0.2, low=low, high=high)


@pytest.mark.parametrize(
    ("name", "found", "passed"),
    [
        ("false_success", between(0.1, 0.3), True),
        ("false_success", between(0.1, 0.31), False),
        ("near_miss_false_success", between(0.1, 0.2), True),
        ("false_success", Estimate(value=0.0), None),  # no failure in how many?
        ("action_effect", between(0.3, 0.9), True),
        ("action_effect", between(0.1, 0.9), False),
        ("true_success", between(0.1, 0.9), None),
        ("something_new", between(0.1, 0.9), None),
    ],
)
def test_a_gate_holds_by_the_end_of_its_interval(
    name: str, found: Estimate, passed: bool | None
) -> None:
    (gate,) = read_gates({name: found})
    assert gate.passed is passed


def test_known_gates_come_first_and_none_is_none() -> None:
    found = read_gates({"something_new": between(0, 1), "true_success": between(0, 1)})
    assert [gate.title for gate in found] == [gates.KINDS["true_success"].title, "Something new"]
    assert read_gates({}) == ()


def test_the_bounds_are_those_of_the_findings() -> None:
    assert gates.NEAR_MISS == analysis.NEAR_MISS
    assert gates.ACTION_EFFECT == evaluate_gates.ACTION_EFFECT
