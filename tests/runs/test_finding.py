"""The runs of a folder."""

import json
from pathlib import Path

import pytest

from worldeval.runs.finding import find_runs


def make(folder: Path, summary: object | None = None, *, batches: int = 0) -> Path:
    (folder / "imagined").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    for place in range(batches):
        (folder / f"imagined/{place}.npz").write_bytes(b"")
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_runs_are_found_at_every_depth_and_other_folders_are_not(tmp_path: Path) -> None:
    make(tmp_path / "demo", {"ranking": {"policies": [{"policy": "a"}]}, "episodes": 40})
    make(tmp_path / "team/rank", batches=3)
    (tmp_path / "data").mkdir()
    found = {run.name: run for run in find_runs(tmp_path)}
    assert set(found) == {"demo", "team/rank"}
    assert (found["demo"].status, found["demo"].best, found["demo"].episodes) == ("ranked", "a", 40)
    assert found["team/rank"].status == "under way"
    assert found["team/rank"].detail == "at work, or stopped while imagining (3 imagined batches)"


def test_a_refused_ranking_names_no_best(tmp_path: Path) -> None:
    refusal = {"code": "false_success", "severity": "refusal", "text": "..."}
    make(tmp_path / "a", {"ranking": {"policies": [{"policy": "x"}]}, "findings": [refusal]})
    (run,) = find_runs(tmp_path)
    assert run.best is None
    assert run.detail == "not a ranking: false_success"


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_broken_run_is_listed_as_such(tmp_path: Path, text: str) -> None:
    (make(tmp_path / "a") / "summary.json").write_text(text)
    assert [run.status for run in find_runs(tmp_path)] == ["broken"]


@pytest.mark.parametrize("name", ["summary.json", "outcomes/imagined.csv", "labels.jsonl"])
def test_a_file_that_leads_out_is_not_read(tmp_path: Path, name: str) -> None:
    run = make(tmp_path / "runs/a", {})
    (tmp_path / "secret").write_text("{}")
    (run / "outcomes").mkdir()
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(tmp_path / "secret")
    (found,) = find_runs(tmp_path / "runs")
    assert (found.status, f"{name} points outside" in found.detail) == ("broken", True)


def test_progress_is_told_where_the_recipe_says_how_much_there_is(tmp_path: Path) -> None:
    run = make(tmp_path / "a", batches=3)
    (run / "recipe.yaml").write_text(
        "policies: [zero, random]\ntasks: [x, y]\nstarts: 30\nbatch: 20\n"
    )
    (found,) = find_runs(tmp_path)
    assert found.progress == pytest.approx(3 / 6)
    (run / "recipe.yaml").write_text("policies: ['models/*']\ntasks: [x]\nstarts: 9\nbatch: 3\n")
    assert find_runs(tmp_path)[0].progress is None


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere/run", {})
    root = tmp_path / "runs"
    make(root / "mine", {})
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert [run.name for run in find_runs(root)] == ["mine"]
