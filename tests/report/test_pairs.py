"""Paired episodes: hand-counted."""

import pandas as pd
import pytest

from worldeval.report.pairs import Pairs, pairs
from worldeval.stats import Outcomes, from_frame


def table(column: str, rows: list[tuple[str, str, float]]) -> Outcomes:
    frame = pd.DataFrame(rows, columns=["policy", "start", column])
    return from_frame(frame.assign(task="open", seed=range(len(frame))))


def test_each_kind_is_counted() -> None:
    imagined = table(
        "score", [("a", "1", 0.9), ("a", "2", 0.6), ("a", "3", 0.1), ("b", "1", 0.2), ("b", "9", 1)]
    )
    real = table(
        "success", [("a", "1", 1), ("a", "2", 0), ("a", "3", 0), ("b", "1", 1), ("c", "1", 1)]
    )
    found = pairs(imagined, real)
    assert found == Pairs(both=1, neither=1, imagined_only=1, real_only=1)
    assert found is not None and found.total == 4
    assert found.optimism.value == found.pessimism.value == 0.5


def test_several_seeds_of_a_start_are_one_episode() -> None:
    imagined = table("score", [("a", "1", 0.9), ("a", "1", 0.3)])  # mean .6
    assert pairs(imagined, table("success", [("a", "1", 1)])) == Pairs(
        both=1, neither=0, imagined_only=0, real_only=0
    )


def test_nothing_in_common_is_no_pair() -> None:
    assert pairs(table("score", [("a", "1", 0.9)]), table("success", [("b", "1", 1)])) is None


def test_a_rate_of_nothing_is_undefined_but_bounded() -> None:
    found = Pairs(both=3, neither=0, imagined_only=0, real_only=0).optimism
    assert found.to_json() == {"value": None, "low": 0.0, "high": 1.0}
    assert found.value != pytest.approx(0)
