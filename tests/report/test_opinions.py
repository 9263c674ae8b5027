"""People's labels are compared with the judge."""

from pathlib import Path

from worldeval.report.opinions import LabelAgreement, against_judge
from worldeval.runs.films import Filmstrip
from worldeval.runs.labels import add_opinion, read_opinions


def strip(start: str, probability: float | None) -> Filmstrip:
    return Filmstrip(
        policy="a", task="open", start=start, seed=1, probability=probability, success=None
    )


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
