"""What labels do to a ranking, on numbers that can be worked out by hand."""

import pandas as pd
import pytest

from worldeval.report.effect import corrected, moved, said
from worldeval.runs.episodes import EpisodeTable, identity
from worldeval.runs.films import Filmstrip
from worldeval.runs.labels import Opinion

WHEN = "2026-01-01T00:00:00+00:00"


def opinion(policy: str, start: int, label: str, who: str = "ada") -> Opinion:
    return Opinion(
        policy=policy, task="open", start=f"open-{start}", seed=0, label=label, who=who, when=WHEN
    )


def strip(policy: str, start: int, *, drawn: bool) -> Filmstrip:
    return Filmstrip(
        policy=policy,
        task="open",
        start=f"open-{start}",
        seed=0,
        probability=0.5,
        success=None,
        drawn=drawn,
    )


def episodes(scores: dict[str, list[float]]) -> EpisodeTable:
    rows = [
        {
            "id": identity(policy, "open", f"open-{start}", 0),
            "policy": policy,
            "task": "open",
            "start": f"open-{start}",
            "seed": 0,
            "score": score,
        }
        for policy, values in scores.items()
        for start, score in enumerate(values)
    ]
    return EpisodeTable(table=pd.DataFrame(rows))


def test_a_label_stands_in_place_of_the_judge() -> None:
    table = episodes({"good": [0.9, 0.7], "bad": [0.6, 0.6]})
    first, second = moved(table, [opinion("good", 0, "failure"), opinion("bad", 1, "unsure")])
    assert (first.policy, first.rank, first.rank_after, first.labels) == ("good", 1, 2, 1)
    assert first.judged == pytest.approx(0.8)
    assert first.labelled == pytest.approx(0.35)
    assert (second.labelled, second.labels, second.rank_after) == (pytest.approx(0.6), 0, 1)


def test_the_last_word_of_each_person_counts_and_people_are_averaged() -> None:
    given = [
        opinion("a", 0, "failure"),
        opinion("a", 0, "success"),
        opinion("a", 0, "failure", who="bob"),
        opinion("a", 1, "unsure"),
    ]
    assert said(given) == {"a/open-0/0": 0.5}


def test_labels_of_drawn_episodes_correct_the_rate_of_the_run() -> None:
    """A judge that says 0.9 of everything is drawn to what twelve labels say."""
    table = episodes({"a": [0.9] * 20, "b": [0.9] * 20})
    given = [opinion("a", start, "failure" if start % 2 else "success") for start in range(12)]
    strips = [strip("a", start, drawn=True) for start in range(12)]
    found = corrected(table, given, strips)
    assert found is not None
    assert (found.judged, found.labels) == (pytest.approx(0.9), 12)
    assert found.corrected.value == pytest.approx(0.5)
    assert found.corrected.low is not None and found.corrected.low < 0.3


def test_labels_of_telling_episodes_correct_nothing() -> None:
    table = episodes({"a": [0.9] * 20})
    given = [opinion("a", start, "failure") for start in range(12)]
    assert corrected(table, given, [strip("a", start, drawn=False) for start in range(12)]) is None
