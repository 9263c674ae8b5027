"""`worldeval view`: on this machine only, and clear about mistakes."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.support.synthetic_run import synthetic_run
from worldeval.api import view as viewing
from worldeval.cli import view
from worldeval.errors import UserError


def invoke(*words: str | Path):
    app = typer.Typer()
    view.register(app)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_viewer_listens_on_this_machine_only(tmp_path: Path) -> None:
    done = invoke(tmp_path, "--dry-run", "--json", "--port", "8765", "--no-browser")
    said = json.loads(done.stdout)
    assert said["url"] == "http://localhost:8765"
    command = " ".join(said["command"])
    assert "--server.address localhost" in command
    assert "--server.headless true" in command
    assert "--browser.gatherUsageStats false" in command
    assert Path(said["command"][4]).name == "main.py"


def test_the_folder_of_runs_reaches_the_viewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def fake(command: list[str], *, env: dict[str, str], check: bool):
        seen.update(env)
        return type("Done", (), {"returncode": 3})()

    monkeypatch.setattr(viewing.subprocess, "run", fake)
    assert invoke(tmp_path, "--data", tmp_path).exit_code == 3
    assert seen["WORLDEVAL_RUNS"] == seen["WORLDEVAL_DATA"] == str(tmp_path)


def opened(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> dict[str, str]:
    """What the viewer is opened on."""
    seen = {}

    def fake(command: list[str], *, env: dict[str, str], check: bool):
        seen.update(env)
        return type("Done", (), {"returncode": 0})()

    monkeypatch.setattr(viewing.subprocess, "run", fake)
    done = invoke(*words)
    assert done.exit_code == 0, done.exception
    return {name: seen[f"WORLDEVAL_{name}"] for name in ("RUNS", "RUN", "PAGE", "LABELS")}


def test_a_run_is_opened_on_its_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = synthetic_run(tmp_path / "demo", films=False)
    found = opened(monkeypatch, run, "--label")
    assert found == {"RUNS": str(tmp_path), "RUN": "demo", "PAGE": "labelling", "LABELS": ""}
    assert opened(monkeypatch, tmp_path)["PAGE"] == ""
    assert "not a finished run" in str(invoke(tmp_path, "--label").exception)


def test_labels_are_opened_beside_their_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("episode,task,success,probability,recorded,judge,reason\ne,t,true,1,,j,r\n")
    found = opened(monkeypatch, labels, "--data", tmp_path)
    assert found["PAGE"] == "confirming" and found["LABELS"] == str(labels)
    assert "--data RECORDINGS" in str(invoke(labels).exception)
    labels.write_text("a,b\n1,2\n")
    assert "not a file of labels" in str(invoke(labels, "--data", tmp_path).exception)


def test_a_missing_folder_is_a_user_error(tmp_path: Path) -> None:
    assert isinstance(invoke(tmp_path / "gone").exception, UserError)
    assert isinstance(invoke(tmp_path, "--data", tmp_path / "gone").exception, UserError)


def test_without_streamlit_the_install_line_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "find_spec", lambda name: None)
    assert "worldeval[app]" in str(invoke(tmp_path).exception)


def test_a_bundle_is_written_instead_and_needs_no_streamlit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "find_spec", lambda name: None)
    run = synthetic_run(tmp_path / "demo", films=False)
    done = invoke(run, "--bundle", tmp_path / "site", "--json")
    said = json.loads(done.stdout)
    assert said["page"] == str(tmp_path / "site/index.html")
    assert (said["episodes"], said["films"]) == (120, 0)
    assert isinstance(invoke(tmp_path, "--bundle", tmp_path / "other").exception, UserError)
    assert not (tmp_path / "other").exists()
