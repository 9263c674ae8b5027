"""Pages where people label: the queue of a run, and labels of recordings."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from worldeval.data.source import open_source
from worldeval.evaluate.label_queue import label_queue
from worldeval.files import write_json
from worldeval.runs.episode_labels import EpisodeLabel, read_labels, write_labels
from worldeval.runs.episodes import read_episodes
from worldeval.runs.films import read_filmstrips
from worldeval.runs.labels import add_opinion, read_opinions

View = Callable[..., AppTest]


def texts(test: AppTest) -> str:
    """All that the page says in plain text."""
    return "\n".join(str(each.value) for each in (*test.text, *test.markdown, *test.caption))


def test_the_queue_says_how_it_draws_and_what_comes_next(
    runs: Path, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    strips = read_filmstrips(runs / "demo/filmstrips")
    episodes = read_episodes(runs / "demo")
    keys = [each.key for each in label_queue(runs / "demo", episodes).episodes]
    entry = replace(strips[0], policy=keys[0][0], task=keys[0][1], start=keys[0][2],
                    seed=keys[0][3])  # fmt: skip
    write_json(runs / "demo/filmstrips/index.json", [asdict(each) for each in (*strips, entry)])
    monkeypatch.setenv("WORLDEVAL_PAGE", "labelling")
    monkeypatch.setenv("WORLDEVAL_RUN", "demo")
    test = view(runs)
    assert test.header[0].value == "Judge" and "Drawn by importance" in texts(test)
    test.text_input[0].set_value("ada").run()
    test.button(key="success").click().run()
    (kept,) = read_opinions(runs / "demo")
    assert kept.drawn == "important" and kept.key == keys[0]
    assert "worldeval judge again" in test.code[0].value and "--judge human" in test.code[0].value
    add_opinion(runs / "demo", entry, "failure", who="ben", drawn="important")
    test.run()
    assert "ada and ben" in str(test.table[0].value)
    test.segmented_control(key="asked").set_value("random").run()
    assert "uniformly at random" in texts(test)


def test_a_persons_word_is_written_beside_the_judges(
    toy_runs: Path, tmp_path: Path, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, labels = toy_runs / "recorded", tmp_path / "labels.csv"
    heads = open_source(str(data)).heads
    given = [
        EpisodeLabel(
            episode=head.id, task=head.task, success="true", probability="0.9", recorded="",
            judge="j", reason="=1+1",
        )
        for head in heads
    ]  # fmt: skip
    write_labels(labels, given)
    monkeypatch.setenv("WORLDEVAL_PAGE", "confirming")
    monkeypatch.setenv("WORLDEVAL_LABELS", str(labels))
    monkeypatch.setenv("WORLDEVAL_DATA", str(data))
    test = view(tmp_path)
    assert test.header[0].value == "Confirm labels" and "0.90" not in texts(test)
    test.text_input[0].set_value("ada").run()
    test.button(key="failure").click().run()
    said = read_labels(labels)
    assert [each.who for each in said].count("ada") == 1 and len(said) == len(heads)
    (own,) = [each for each in said if each.who]
    assert (own.person, own.success, own.reason) == ("false", "true", "=1+1") and own.when
    assert "0 of 1 labels of the judge are confirmed" in texts(test)
    test.button(key="again success").click().run()
    assert [each.person for each in read_labels(labels) if each.who] == ["true"]
