"""Run folders say how they were made, and are never mixed."""

import json
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import yaml

from worldeval.errors import UserError
from worldeval.files import read_json
from worldeval.runs import origin


def begun(folder: Path, *, steps: int = 1, seed: int = 0, resume: bool = False) -> dict:
    origin.open_run(folder, recipe={"steps": steps}, seed=seed, command="train", resume=resume)
    return read_json(folder / "run.json")


def test_a_run_folder_says_how_it_was_made(tmp_path: Path) -> None:
    facts = begun(tmp_path / "deep" / "run", steps=7, seed=3)
    assert yaml.safe_load((tmp_path / "deep/run/recipe.yaml").read_text()) == {"steps": 7}
    assert (facts["command"], facts["seed"]) == ("train", 3)
    assert facts["packages"]["numpy"] == np.__version__
    assert "before" not in facts


def test_a_run_keeps_the_date_on_which_it_began(tmp_path: Path) -> None:
    for hour in (12, 15):
        now = datetime(2026, 3, 1, hour, tzinfo=timezone(timedelta(hours=2)))
        origin.open_run(tmp_path, recipe={}, seed=0, command="rank", resume=True, now=now)
    facts = origin.read_facts(tmp_path)
    assert facts.begun == "2026-03-01T10:00:00+00:00"
    assert facts.before == ()  # the same code at another time is no other part


def test_a_run_resumes_with_the_same_recipe_and_seed_only(tmp_path: Path) -> None:
    begun(tmp_path, steps=1)
    assert begun(tmp_path, steps=1, resume=True)["seed"] == 0
    with pytest.raises(UserError, match="begun with another recipe"):
        begun(tmp_path, steps=2, resume=True)
    with pytest.raises(UserError, match="begun with seed 0, not 5"):
        begun(tmp_path, steps=1, seed=5, resume=True)
    assert begun(tmp_path, steps=2, seed=5)["seed"] == 5


def test_a_key_that_came_with_this_version_is_no_difference(tmp_path: Path) -> None:
    begun(tmp_path, steps=1)

    def resume(clip: float) -> None:
        origin.open_run(
            tmp_path,
            recipe={"steps": 1, "clip": clip},
            seed=0,
            command="train",
            resume=True,
            reread=lambda kept: {**kept, "clip": 0.0},
        )

    with pytest.raises(UserError, match=r"clip was 0\.0, now 1\.0"):
        resume(1.0)
    resume(0.0)


def test_a_resumed_run_remembers_the_code_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begun(tmp_path)
    monkeypatch.setattr(origin, "__version__", "9.9")
    facts = begun(tmp_path, resume=True)
    assert facts["worldeval"] == "9.9"
    assert facts["before"] == [first]
    assert begun(tmp_path, resume=True)["before"] == [first]


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="is a file"):
        begun(tmp_path / "run")


def test_the_commit_is_that_of_the_checkout_and_tells_changed_files(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert origin.commit_of(tmp_path) is None
    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-q", "-m", "one")
    git("tag", "-a", "v1", "-m", "v1")
    assert origin.commit_of(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "a").write_text("2")
    assert origin.commit_of(tmp_path) == git("rev-parse", "HEAD") + "-dirty"
    inside = tmp_path / "venv"
    inside.mkdir()
    assert origin.commit_of(inside) is None  # installed inside somebody else's repository


def test_run_json_is_plain_json(tmp_path: Path) -> None:
    begun(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["packages"].keys() == set(
        origin.packages()
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", b"[]"),
        ("run.json", b'{"seed": "zero"}'),
        ("run.json", b"\xff\xfe"),
        ("run.json", b'{"before": ' + b"[" * 10_000),
        ("recipe.yaml", b"- a\n"),
        ("recipe.yaml", b"a: [\n"),
        ("recipe.yaml", b"\xff\xfe\x00"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    begun(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name.replace(".", r"\.")) as error:
        begun(tmp_path, resume=True)
    assert "\n" not in str(error.value)
