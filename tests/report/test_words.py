"""How a report says which pairs of policies are separated, and what would separate the others."""

import pytest

from worldeval.report.words import needed, separation
from worldeval.stats import Comparison, Estimate


def pair(
    *, order: float | None = None, starts: int | None = None, trials: int | None = None
) -> Comparison:
    return Comparison(
        first="a",
        second="b",
        difference=Estimate(value=0.1, low=-0.1, high=0.3, n=20, method="betting"),
        p=0.2,
        p_holm=0.4,
        p_mcnemar=None,
        separated=False,
        needed=starts,
        order=order,
        needed_trials=trials,
    )


def test_the_criterion_is_the_one_that_the_ranking_applied() -> None:
    assert "Holm" in separation([pair()], level=0.95)
    assert "97.5%" in separation([pair(), pair(order=0.9)], level=0.95)
    assert "95%" in separation([pair(order=0.9)], level=0.9)


@pytest.mark.parametrize(
    ("duel", "says"),
    [
        (pair(starts=1200), "about 1,200 shared starts"),
        (pair(trials=8), "about 8 measured trials of each"),
    ],
)
def test_what_would_separate_a_tied_pair(duel: Comparison, says: str) -> None:
    assert says in needed(duel)


def test_nothing_is_promised_if_it_is_unknown() -> None:
    assert needed(pair()) == ""
