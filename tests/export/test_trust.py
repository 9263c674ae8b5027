"""Trust: 1 less the largest doubt, and what cannot be worked out is no ground for it."""

import pytest

from worldeval.export.trust import signals


@pytest.mark.parametrize(
    ("given", "votes", "trust"),
    [
        ({}, (), 1.0),
        ({}, (0.7,), 1.0),
        ({}, (0.5, 0.9, 0.6), 0.6),
        ({"mended_actions": 0.25}, (0.5, 0.6), 0.75),
        ({"mended_actions": 0.05}, (0.5, 0.6), 0.9),
        ({"surprise": 40.0}, (0.5, 0.6), 0.9),  # kept, but of no known scale
        ({"trust": 0.3}, (0.5, 0.6), 0.3),
        ({"mended_actions": float("nan")}, (), 0.0),
        ({"trust": float("nan")}, (), 0.0),
    ],
)
def test_known_answers(given: dict, votes: tuple[float, ...], trust: float) -> None:
    assert signals(given, votes)["trust"] == trust


def test_every_signal_is_kept_and_what_is_not_finite_is_null() -> None:
    found = signals({"mended_actions": 0.25, "surprise": float("inf")}, (0.5, 1.0))
    assert found == {
        "disagreement": 0.5,
        "mended_actions": 0.25,
        "surprise": None,
        "trust": 0.5,
    }
