"""The change of sides in a curve of verdicts, with known answers."""

import numpy as np
import pytest

from worldeval.stats.decisive import LEAST, are_tied, change_of, starts_for


@pytest.mark.parametrize(
    ("curve", "place", "wrong"),
    [
        ([0.9, 0.9, 0.8, 0.2, 0.1, 0.1], 2, 0.0),
        ([0.1, 0.1, 0.9, 0.9], 1, 0.0),  # the other way round
        ([0.9, 0.1], 0, 0.0),
        ([0.9, 0.2, 0.9, 0.9, 0.9, 0.1, 0.1], 4, 0.2),  # one early slip is not the change
        ([0.9, 0.9, 0.1, 0.1, 0.8, 0.1, 0.1], 1, 0.2),  # nor is one late success
        ([0.9, 0.1, 0.9, 0.1], 0, 0.5),  # both as good: the earliest
        ([0.9, 0.4, 0.9, 0.1], 2, 0.5),  # the one that is nearer to the probabilities
    ],
)
def test_the_change_that_contradicts_fewest_verdicts(
    curve: list[float], place: int, wrong: float
) -> None:
    found = change_of(np.array(curve))
    assert found is not None
    assert (found.place, found.wrong) == (place, pytest.approx(wrong))


def test_equal_ends_have_no_change() -> None:
    assert change_of(np.array([0.9, 0.1, 0.9])) is None


def test_verdicts_that_go_back_and_forth_are_not_one_change() -> None:
    clear = change_of(np.array([0.9] * 8 + [0.1] * 8))
    unclear = change_of(np.array([0.9, 0.1] * 8))
    assert clear is not None and clear.clear
    assert unclear is not None and not unclear.clear


def test_with_fewer_than_six_starts_every_pair_is_tied() -> None:
    assert are_tied(LEAST - 1, 0) and not are_tied(LEAST, 0)
    assert are_tied(14, 6) and not are_tied(16, 4)


def test_starts_that_would_do() -> None:
    assert starts_for(2, 60) == 180
    assert starts_for(0, 60) is None
