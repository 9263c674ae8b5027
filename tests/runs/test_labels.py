"""Labels by people: appended and read back."""

from pathlib import Path

import pytest

from worldeval.errors import UserError
from worldeval.runs.films import Filmstrip
from worldeval.runs.labels import add_opinion, latest, read_opinions
from worldeval.runs.paths import LABELS


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


def test_wrong_words_and_nobody_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="success, failure, unsure"):
        add_opinion(tmp_path, strip("1", 0.5), "maybe", who="ada")
    with pytest.raises(UserError, match="name"):
        add_opinion(tmp_path, strip("1", 0.5), "success", who=" ")
    assert read_opinions(tmp_path) == []


@pytest.mark.parametrize("line", ["{", '{"policy": "a"}', "3"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    add_opinion(tmp_path, strip("1", 0.5), "success", who="ada")
    with (tmp_path / LABELS).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match="line 2"):
        read_opinions(tmp_path)
