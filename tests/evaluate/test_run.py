# pandas types a cell as anything that a table may hold.
# pyright: reportGeneralTypeIssues=false
"""`worldeval rank` on a toy evaluation: shards, growth, changed checkpoints, broken policies."""

import json
from pathlib import Path

import pandas as pd
import pytest
from toy_run import make_policy, make_run
from typer.testing import CliRunner, Result

from worldeval.cli import app
from worldeval.errors import UserError

A, B = "a/step-1", "b/step-1"
BROKEN = """
from worldeval.policy.builtin import Zero

class Broken(Zero):
    def act(self, observation):
        raise RuntimeError("out of ideas")

def make():
    return Broken(action_dim=8)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("toy")
    make_run(home, policies=[A, B], starts=4, horizon=2)
    return home


@pytest.fixture(scope="module")
def whole(home: Path) -> Path:
    return ranked(home, home / "whole")


def rank(home: Path, out: Path, *more: str) -> Result:
    words = ["rank", str(home / "toy.yaml"), "--out", str(out), "--films", "0", "--jobs", "1"]
    return CliRunner().invoke(app, [*words, *more])


def ranked(home: Path, out: Path, *more: str) -> Path:
    done = rank(home, out, *more)
    assert done.exit_code == 0, (done.output, done.exception)
    return out


def refused(done: Result) -> str:
    assert isinstance(done.exception, UserError)
    return str(done.exception)


def outcomes(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "outcomes/imagined.csv")


def policy(home: Path, name: str) -> tuple[str, str]:
    return "--policies", str(home / "policies" / name)


def test_shards_merge_into_what_one_machine_would_have_made(home: Path, whole: Path) -> None:
    parts = [str(home / f"part-{i}") for i in range(2)]
    for index, part in enumerate(parts):
        ranked(home, Path(part), "--num-shards", "2", "--shard-index", str(index))
        assert not Path(part, "summary.json").exists()
    merged = CliRunner().invoke(app, ["merge", *parts, "--out", str(home / "merged"), "--json"])
    assert json.loads(merged.stdout)["imagined"] == 16
    ranked(home, home / "merged")
    pd.testing.assert_frame_equal(outcomes(home / "merged"), outcomes(whole))


def test_policies_and_starts_are_added(home: Path, whole: Path, tmp_path: Path) -> None:
    out = ranked(home, tmp_path / "grown", "--starts", "2", *policy(home, B))
    assert len(outcomes(out)) == 4
    ranked(home, out, *policy(home, A))
    table = outcomes(out)
    assert len(table) == 16 and set(table["policy"]) == {A, B}
    both = table.merge(outcomes(whole), on=["policy", "start"])
    assert (both["score_x"] - both["score_y"]).abs().max() <= 1e-4


def test_another_horizon_is_refused(home: Path, whole: Path) -> None:
    assert "horizon was 2, now 3" in refused(rank(home, whole, "--set", "horizon=3"))


def test_a_changed_checkpoint_is_noticed_and_tried_anew(home: Path, tmp_path: Path) -> None:
    mine, ours = home / "policies/c/step-1", policy(home, "c/step-1")
    make_policy(mine, "c/step-1")
    out = ranked(home, tmp_path / "run", *ours)
    before = outcomes(out)
    make_policy(mine, "c/step-1", noise=5.0)
    assert "c/step-1" in refused(rank(home, out, *ours))
    ranked(home, out, *ours, "--redo-changed")
    assert (outcomes(out)["score"] != before["score"]).any()
    assert len(list((out / "imagined/replaced").iterdir())) == 2


def test_a_broken_policy_has_no_outcomes_and_the_others_are_ranked(
    home: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    out = tmp_path / "run"
    done = rank(home, out, *policy(home, A), "--policies", f"{tmp_path}/broken.py:make")
    assert done.exit_code == 1, done.exception
    assert set(outcomes(out)["policy"]) == {A}
    assert json.loads((out / "summary.json").read_text())["errors"] == {"zero": "out of ideas"}
    # The code was named by the user then, and is not now: the run folder may be somebody else's.
    assert "Python code" in refused(rank(home, out, *policy(home, A)))


def test_adaptive_spending_is_told_in_the_summary(home: Path, tmp_path: Path) -> None:
    how = ("--allocate", "top-two", "--budget-rollouts", "8", "--stop-when-separated")
    out = ranked(home, tmp_path / "run", *how)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["spent"]["why"] == "roll-outs spent" and summary["episodes"] == 8
    assert "confidence sequence" in summary["ranking"]["policies"][0]["method"]
    assert "adaptive_sampling" in {finding["code"] for finding in summary["findings"]}


def test_progress_is_a_line_of_json_per_event(home: Path, tmp_path: Path) -> None:
    done = rank(home, tmp_path / "run", "--json", *policy(home, A))
    assert json.loads(done.stdout)["episodes"] == 8
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events.count("batch") == 2 and events[0] == "start"
