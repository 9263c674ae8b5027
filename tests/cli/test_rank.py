"""`worldeval rank` with the shipped weights, from shipped starts: no simulator is needed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POLICIES = ["models/policies-test/bc-all/step-80", "models/policies-test/bc-all/step-2400"]


def rank(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    named = [part for policy in POLICIES for part in ("--policies", policy)]
    command = ["rank", "metaworld", *named, "--starts", "2", "--set", "truth=null", "--films", "1"]
    return subprocess.run(
        [sys.executable, "-m", "worldeval", *command, "--out", str(folder), "--json", *more],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("rank")


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict:
    done = rank(folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> dict:
    """A short ranking by a copy of the shipped judge that has no passport."""
    home = tmp_path_factory.mktemp("bare")
    judge = shutil.copytree(
        ROOT / "models/judge", home / "judge", ignore=shutil.ignore_patterns("passport*")
    )
    short = ("--set", "horizon=4", "--set", "replays=")
    done = rank(home / "run", "--judge", str(judge), *short)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_trained_policy_is_predicted_to_beat_the_untrained(summary: dict) -> None:
    rates = {row["policy"]: row["value"] for row in summary["ranking"]["policies"]}
    assert rates["bc-all/step-2400"] > rates["bc-all/step-80"] + 0.2
    assert (summary["policies"], summary["episodes"], len(summary["tasks"])) == (2, 20, 5)


def test_without_truth_the_shipped_passport_stands_for_the_comparison(summary: dict) -> None:
    found = {finding["code"]: finding["text"] for finding in summary["findings"]}
    assert summary["headline"] is None and summary["passport"]["applies"]
    assert "was not measured in this run" in found["validated_elsewhere"]
    assert "The passport" in found["validated_elsewhere"]
    assert "policy_misread" not in found
    assert "agreement" not in summary


def test_without_truth_and_passport_the_first_line_refuses(bare: dict) -> None:
    assert "no_paired_truth" in bare["headline"]
    assert "agreement" not in bare and "passport" not in bare


def test_other_settings_than_the_passports_are_a_hypothesis(tmp_path: Path) -> None:
    done = rank(tmp_path, "--set", "replan_every=1", "--set", "horizon=4", "--set", "replays=")
    found = json.loads(done.stdout)
    codes = {finding["code"]: finding["text"] for finding in found["findings"]}
    assert "no_paired_truth" in found["headline"] and not found["passport"]["applies"]
    assert "2 frames per query, now 1" in codes["settings_outside_passport"]
    assert "30 frames, now 4" in codes["settings_outside_passport"]


def test_the_gates_replay_recorded_failures(summary: dict) -> None:
    gates = summary["gates"]
    assert gates["false_success"]["n"] > 50
    assert gates["false_success"]["value"] < gates["true_success"]["value"]
    assert gates["action_effect"]["value"] > 0


def test_the_run_folder_says_where_it_comes_from(summary: dict, folder: Path) -> None:
    facts = json.loads((folder / "run.json").read_text())
    assert facts["seed"] == 0 and facts["packages"]["torch"]
    assert "first_seed: 500000" in (folder / "recipe.yaml").read_text()
    assert len((folder / "outcomes/imagined.csv").read_text().splitlines()) == 21
    assert len(json.loads((folder / "filmstrips/index.json").read_text())) == 1


def test_a_second_run_imagines_nothing_again(summary: dict, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "imagined").iterdir()}
    again = rank(folder)
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "imagined").iterdir()} == before
    assert json.loads(again.stdout)["ranking"] == summary["ranking"]


def test_real_trials_of_unknown_policies_are_refused_before_any_work(tmp_path: Path) -> None:
    trials = tmp_path / "real.csv"
    trials.write_text("policy,task,start,success\nbc-all/step-240,door-open-v3,a,1\n")
    done = rank(tmp_path / "run", "--real", str(trials))
    assert done.returncode == 2
    assert "bc-all/step-2400" in json.loads(done.stdout)["error"]
    assert not (tmp_path / "run/imagined").exists()


def test_real_trials_of_some_starts_are_combined_with_the_imagined(
    summary: dict, folder: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(folder, tmp_path / "run"))  # the comparison is kept in the run
    trials = tmp_path / "real.csv"
    lines = [
        f"bc-all/step-{step},{task},{task}-500000,{int(step == 2400)}"
        for step in (80, 2400)
        for task in summary["tasks"]
    ]
    trials.write_text("\n".join(["policy,task,start,success", *lines]) + "\n")
    found = json.loads(rank(run, "--real", str(trials)).stdout)
    best = found["combined"]["bc-all/step-2400"]
    assert (best["real_starts"], best["imagined_starts"]) == (5, 5)
    codes = {finding["code"] for finding in found["findings"]}
    assert "agreement" not in found  # two policies make no correlation: the passport's stands
    assert "real_trials_only" in codes and "validated_elsewhere" in codes


def test_a_run_without_truth_validates_nothing(summary: dict, folder: Path, tmp_path: Path) -> None:
    done = rank(tmp_path / "run", "--validated-by", str(folder))
    assert done.returncode == 2
    assert "not compared with measured outcomes" in json.loads(done.stdout)["error"]


def test_a_missing_world_model_exits_2_and_says_what_to_do(tmp_path: Path) -> None:
    done = rank(tmp_path, "--world", "nowhere")
    assert done.returncode == 2
    assert "worldeval train" in json.loads(done.stdout)["error"]
