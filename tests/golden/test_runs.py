"""Summaries and outcome tables of runs: every number, and every key."""

from typing import Any

import pytest

from tests.golden import hooks, stored

# Outcomes that are drawn by numpy are the same everywhere; what networks imagine differs between
# machines in the last bits.
TOLERANCE = {"drawn": 1e-9, "drawn_without_truth": 1e-9, "toy": 2e-3}


@pytest.fixture(scope="module")
def runs() -> dict[str, Any]:
    return hooks.runs()


@pytest.mark.parametrize("name", TOLERANCE)
def test_a_run_says_the_same(name: str, runs: dict[str, Any]) -> None:
    near = TOLERANCE[name]
    assert stored.differences(stored.read("runs")[name], runs[name], rtol=near, atol=near) == []
