"""A run as a static site: what it holds, what it leaves out, and what it refuses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from worldeval.data.video import probe
from worldeval.errors import UserError
from worldeval.report.bundle import Bundle, quoted, write_bundle
from worldeval.report.contents import read_contents
from worldeval.report.table import Cell, TaskRow, worst_cells
from worldeval.runs.episodes import read_episodes
from worldeval.stats import Estimate


def written(run: Path, out: Path) -> Bundle:
    contents = read_contents(run, rng=np.random.default_rng(0))
    return write_bundle(contents, read_episodes(run), out)


def data_of(page: Path) -> dict:
    found = re.search(r'<script id="data"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def test_it_holds_every_episode_and_every_film(kept_run: Path, tmp_path: Path) -> None:
    made = written(kept_run, tmp_path / "site")
    assert (made.episodes, made.films) == (120, 5)
    data = data_of(made.path)
    assert data["policies"][0]["policy"] == "bc-all@2400"
    assert len(data["episodes"]["id"]) == len(data["episodes"]["score"]) == 120
    for film in data["episodes"]["films"].values():
        assert probe(made.path.parent / f"{film['file']}.mp4").frames == film["frames"] == 13
        assert len(film["evidence"]) == 13
        assert (made.path.parent / f"{film['file']}.webp").is_file()
    assert made.megabytes < 0.5


def test_it_names_no_folder_of_the_machine(kept_run: Path, tmp_path: Path) -> None:
    made = written(kept_run, tmp_path / "site")
    text = made.path.read_text()
    assert str(kept_run.parent) not in text
    assert str(tmp_path) not in text


def test_its_page_asks_for_nothing_outside(kept_run: Path, tmp_path: Path) -> None:
    text = written(kept_run, tmp_path / "site").path.read_text()
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_no_text_of_a_run_ends_its_script() -> None:
    evil = {"a": "</script><script>alert(1)</script><!--", "b": "\u2028&"}
    text = quoted(evil)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == evil


def test_an_earlier_bundle_is_replaced_and_anything_else_refused(run: Path, tmp_path: Path) -> None:
    made = written(run, tmp_path / "site")
    (made.path.parent / "films/0099.mp4").write_bytes(b"of a film that no longer exists")
    written(run, tmp_path / "site")
    assert not (made.path.parent / "films/0099.mp4").exists()
    with pytest.raises(UserError, match="not empty"):
        written(run, run)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        written(run, tmp_path / "file")


def test_the_worst_task_of_each_policy() -> None:
    def task(name: str, **rates: float) -> TaskRow:
        cells = tuple(
            Cell(policy=policy, predicted=Estimate(value=value), truth=None)
            for policy, value in rates.items()
        )
        unknown = dict.fromkeys(("starts", "predicted", "truth", "spearman", "error", "bias"))
        return TaskRow(task=name, cells=cells, **unknown)

    tasks = (task("open", a=0.9, b=0.1), task("close", a=0.2, b=0.5))
    assert {policy: found[0] for policy, found in worst_cells(tasks).items()} == {
        "a": "close",
        "b": "open",
    }
    assert worst_cells(tasks[:1]) == {}
