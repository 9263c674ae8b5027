"""`worldeval watch` on a toy: verdicts, resuming, exit status, trackers, and waiting."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_run import make_policy, make_run
from typer.testing import CliRunner, Result

import worldeval as we
from worldeval.api import watch as watching
from worldeval.cli import app
from worldeval.errors import UserError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("toy")
    make_run(home, policies=["a/step-1", "a/step-2"], starts=3, horizon=2)
    return home


def command(home: Path, out: Path, *more: str) -> Result:
    words = ["watch", str(home / "policies/a"), "--protocol", str(home / "toy.yaml"), "--jobs", "1"]
    return CliRunner().invoke(app, [*words, "--out", str(out), *more])


def watched(home: Path, out: Path, folder: Path | None = None, **more: Any):
    return we.watch(
        folder or home / "policies/a", str(home / "toy.yaml"), out=out, jobs=1, progress=False,
        **more,
    )  # fmt: skip


def test_every_checkpoint_is_compared_once(home: Path, tmp_path: Path) -> None:
    done = command(home, tmp_path / "run", "--once")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "a/step-1: the first checkpoint, predicted success" in done.output
    assert "a/step-2: tied with a/step-1" in done.output and "6 shared starts" in done.output
    kept = json.loads((tmp_path / "run/watch.json").read_text())
    assert [each["verdict"] for each in kept] == ["first", "tied"]
    assert kept[1]["allowed"] == pytest.approx(0.025)
    again = watched(home, tmp_path / "run", once=True)
    assert [each.policy for each in again.checkpoints] == ["a/step-1", "a/step-2"]
    assert (again.best, again.errors) == ("a/step-1", {})


def test_new_checkpoints_are_noticed_until_none_comes(home: Path, tmp_path: Path) -> None:
    """Waiting is a function: here training goes on meanwhile, for two checkpoints."""
    folder = tmp_path / "training"
    folder.mkdir()
    waits = []

    def train(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) in (1, 5):
            make_policy(folder / f"step-{len(waits)}", f"mine/step-{len(waits)}")

    heard = []
    found = watched(
        home, tmp_path / "run", folder, idle_minutes=1, poll_seconds=20, wait=train,
        heard=lambda each: heard.append(each.policy),
    )  # fmt: skip
    assert heard == [each.policy for each in found.checkpoints] == ["mine/step-1", "mine/step-5"]
    assert set(waits) == {20}


def test_a_baseline_is_the_best_one_at_first(home: Path, tmp_path: Path) -> None:
    base = home / "policies/a/step-2"
    found = watched(home, tmp_path / "run", baseline=base, once=True)
    first = found.checkpoints[0]
    assert (first.policy, first.verdict) == ("a/step-2", "first")
    assert found.checkpoints[1].against == "a/step-2" and len(found.checkpoints) == 2
    with pytest.raises(UserError, match="begun with a/step-2"):
        watched(home, tmp_path / "run", baseline=home / "policies/a/step-1", once=True)
    with pytest.raises(UserError, match="names 2 policies"):
        watched(home, tmp_path / "other", baseline=home / "policies/a", once=True)


@pytest.mark.parametrize(("verdict", "status"), [("better", 0), ("tied", 0), ("worse", 3)])
def test_the_exit_status_is_that_of_the_newest_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str, status: int
) -> None:
    real = watching.judge_arrival

    def told(*args: Any, best: str | None, **more: Any):
        found = real(*args, best=best, **more)
        return found if best is None else replace(found, verdict=verdict)

    monkeypatch.setattr(watching, "judge_arrival", told)
    done = command(home, tmp_path / "run", "--once", "--json")
    assert done.exit_code == status
    said = json.loads(done.stdout)
    assert said["checkpoints"][-1]["verdict"] == verdict and said["best"] == "a/step-1"


def test_verdicts_go_to_trackers(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    watched(home, tmp_path / "run", once=True, track=["tensorboard"])
    assert list((tmp_path / "run/tracking").rglob("events.*"))


def test_trackers_get_numbers_at_rising_steps(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Tracker:
        def store_init_configuration(self, facts: dict) -> None: ...
        def log(self, values: dict, step: int) -> None:
            seen.append((step, values["watch/verdict"]))

        def finish(self) -> None:
            seen.append("finished")

    monkeypatch.setattr("worldeval.training.track._opened", lambda name, folder: Tracker())
    base = home / "policies/a/step-2"
    watched(home, tmp_path / "run", baseline=base, once=True, track=["wandb"])
    assert seen == [(2, 0), (3, 0), "finished"]  # a/step-1 comes after a/step-2


def test_one_that_cannot_be_loaded_does_not_end_the_watch(home: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(home / "policies/a", tmp_path / "a")
    (folder / "step-2/policy.safetensors").write_bytes(b"not finished")
    make_policy(folder / "step-3", "a/step-3")
    found = watched(home, tmp_path / "run", folder, idle_minutes=0, wait=lambda _: None)
    assert [each.policy for each in found.checkpoints] == ["a/step-1", "a/step-3"]
    assert list(found.errors) == [str(folder / "step-2")]
    with pytest.raises(UserError):
        watched(home, tmp_path / "run", folder, once=True)


def test_mistakes_are_said_in_one_line(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training folder"):
        watched(home, tmp_path / "run", tmp_path / "gone", once=True)
    with pytest.raises(UserError, match="no protocol recipe 'lab'"):
        we.watch(home / "policies/a", once=True, out=tmp_path / "run", progress=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert watched(home, tmp_path / "run", empty, once=True).best is None
    assert not (tmp_path / "run").exists()
