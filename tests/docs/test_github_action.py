"""The example of a GitHub Action is sound, and fails exactly when worldeval says 'worse'."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from worldeval.api import watch as watching
from worldeval.cli import app

FILE = Path(__file__).parents[2] / "docs/examples/policy-regression.yml"
WORKFLOW = yaml.safe_load(FILE.read_text())
(JOB,) = WORKFLOW["jobs"].values()
(STEP,) = [step for step in JOB["steps"] if "worldeval watch" in step.get("run", "")]


def test_it_is_a_workflow() -> None:
    assert set(WORKFLOW) == {"name", True, "permissions", "jobs"}  # YAML 1.1 reads `on` as true
    assert "pull_request" in WORKFLOW[True] and JOB["runs-on"] and JOB["timeout-minutes"] > 0
    for step in JOB["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert set(step) <= {"name", "uses", "with", "run", "env", "shell", "if"}
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+", step.get("uses", "a/b@v1"))


def test_no_text_of_a_pull_request_reaches_a_shell() -> None:
    """Expressions are filled in before the shell reads a command: only `env:` may have them."""
    assert not [step for step in JOB["steps"] if "${{" in step.get("run", "")]


def test_its_command_is_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def fake(folder: str, protocol: str, **options: Any) -> watching.WatchedTraining:
        seen.update(options, folder=folder, protocol=protocol)
        return watching.WatchedTraining(run=Path("runs"), checkpoints=(), errors={})

    monkeypatch.setattr(watching, "watch", fake)
    words = shlex.split(STEP["run"].partition("|")[0])
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output
    assert (seen["folder"], seen["baseline"]) == ("runs/pull-request", "policies/main")
    assert seen["once"] and seen["budget_minutes"] == 30


@pytest.mark.parametrize("status", [0, 3, 2])
def test_the_step_ends_with_the_status_of_worldeval(tmp_path: Path, status: int) -> None:
    """As GitHub runs `shell: bash`: through the pipe to the summary, which gets the sentence."""
    fake = tmp_path / "worldeval"
    fake.write_text(f"#!/bin/sh\necho a verdict\nexit {status}\n")
    fake.chmod(0o755)
    assert STEP["shell"] == "bash"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEP["run"]],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")},
        capture_output=True,
    )
    assert done.returncode == status
    assert (tmp_path / "summary").read_text() == "a verdict\n"
