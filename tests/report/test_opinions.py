"""Labels by people: appended, read back, and compared with the judge."""

from pathlib import Path

import pytest

from worldeval.errors import UserError
from worldeval.report.filmstrip import Filmstrip
from worldeval.report.opinions import (
    FILE,
    LabelAgreement,
    add_opinion,
    against_judge,
    latest,
    read_opinions,
)


def strip(start: str, probability: float | None) -> Filmstrip:
    return Filmstrip(
        policy="a", task="open", start=start, seed=1, probability=probability, success=None
    )


def test_labels_are_appended_with_who_and_when(tmp_path: Path) -> None:
    add_opinion(tmp_path, strip("1", 0.9), "success", who=" ada ")
    add_opinion(tmp_path, strip("1", 0.9), "failure", who="bob")
    kept = read_opinions(tmp_path)
    assert [(o.who, o.label, o.start) for o in kept] == [
        ("ada", "success", "1"),
        ("bob", "failure", "1"),
    ]
    assert kept[0].when.endswith("+00:00")


def test_the_last_label_of_a_person_counts_and_all_are_kept(tmp_path: Path) -> None:
    for label in ("success", "unsure", "failure"):
        add_opinion(tmp_path, strip("1", 0.9), label, who="ada")
    kept = read_opinions(tmp_path)
    assert len(kept) == 3
    assert [o.label for o in latest(kept)] == ["failure"]


def test_labels_are_counted_against_the_judge(tmp_path: Path) -> None:
    said = {"1": "success", "2": "success", "3": "failure", "4": "failure", "5": "unsure"}
    strips = tuple(
        strip(start, p) for start, p in zip("123456", (0.9, 0.1, 0.8, 0.2, 0.7, None), strict=True)
    )
    for each in strips[:5]:
        add_opinion(tmp_path, each, said[each.start], who="ada")
    add_opinion(tmp_path, strips[5], "success", who="ada")  # the judge said nothing of it
    found = against_judge(read_opinions(tmp_path), strips)
    assert found == LabelAgreement(both=1, neither=1, judge_only=1, person_only=1)
    assert (found.agreeing, found.total) == (2, 4)


def test_wrong_words_and_nobody_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="success, failure, unsure"):
        add_opinion(tmp_path, strip("1", 0.5), "maybe", who="ada")
    with pytest.raises(UserError, match="name"):
        add_opinion(tmp_path, strip("1", 0.5), "success", who=" ")
    assert read_opinions(tmp_path) == []


@pytest.mark.parametrize("line", ["{", '{"policy": "a"}', "3"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    add_opinion(tmp_path, strip("1", 0.5), "success", who="ada")
    with (tmp_path / FILE).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match="line 2"):
        read_opinions(tmp_path)
