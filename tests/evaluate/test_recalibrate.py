"""Correcting a judge by a finished run, and refusing runs that cannot."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from worldeval.api.train import calibrate_judge
from worldeval.cli import app
from worldeval.errors import UserError
from worldeval.evaluate.recalibrate import recalibrated
from worldeval.files import write_json
from worldeval.judge.calibrate import Calibration
from worldeval.judge.learned import CARD, WEIGHTS, read_calibration
from worldeval.judge.load import judge_hash
from worldeval.judge.recipe import JudgeRecipe
from worldeval.runs.passport import read_passport

GLOOMY = Calibration(slope=0.5, offsets=(-1.0, -1.0))
TRUE = Calibration(slope=1.0, offsets=(0.0, 0.0))


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    folder = tmp_path / "judge"
    card = {
        "recipe": asdict(JudgeRecipe()),
        "calibration": asdict(GLOOMY),
        "tasks": ["open", "close"],
        "latent": [2, 16, 8, 8],
        "pose_dim": 4,
    }
    write_json(folder / CARD, card)
    (folder / WEIGHTS).write_bytes(b"networks")
    return folder


@pytest.fixture
def run(tmp_path: Path, judge: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for policy in range(6):
        for task, name in enumerate(("open", "close")):
            logit = rng.normal(policy - 2.5, 1, 60)
            which = np.full(60, task)
            real = rng.random(60) < TRUE(logit, which)
            for start in range(60):
                rows.append(
                    {
                        "policy": f"p{policy}",
                        "lineage": f"run{policy // 2}",
                        "task": name,
                        "start": f"{name}-{start}",
                        "score": GLOOMY(logit, which)[start],
                        "success": int(real[start]),
                    }
                )
    table, folder = pd.DataFrame(rows), tmp_path / "run"
    (folder / "outcomes").mkdir(parents=True)
    table.drop(columns="success").to_csv(folder / "outcomes/imagined.csv", index=False)
    table.drop(columns="score").to_csv(folder / "outcomes/truth.csv", index=False)
    write_json(folder / "summary.json", {"judge": {"hash": judge_hash(judge)}})
    return folder


def test_left_out_lineages_are_closer_to_the_truth(judge: Path, run: Path) -> None:
    found = recalibrated(judge, [run])
    assert found.calibration.slope == pytest.approx(1.0, abs=0.25)
    assert found.cell_error_before > 0.15 and found.cell_error_after < 0.06
    assert found.learned_from["lineages"] == ["run0", "run1", "run2"]


def test_the_command_writes_a_judge_that_says_where_its_rates_are_from(
    judge: Path, run: Path, tmp_path: Path
) -> None:
    words = ["judge", "calibrate", str(run), "--judge", str(judge), "--out", str(tmp_path / "new")]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["policies"] == 6
    assert read_calibration(tmp_path / "new")[0].slope == pytest.approx(1.0, abs=0.25)
    assert json.loads((tmp_path / "new" / CARD).read_text())["calibrated_on"]["episodes"] == 720
    assert (tmp_path / "new" / WEIGHTS).read_bytes() == b"networks"


def test_the_corrected_judge_has_a_passport_with_rates_that_were_left_out(
    judge: Path, run: Path, tmp_path: Path
) -> None:
    calibrate_judge(judge, [run], tmp_path / "new")
    passport = read_passport(tmp_path / "new")
    assert passport.scope.tasks == ("close", "open")
    assert passport.scope.lineages == ("run0", "run1", "run2")
    assert passport.rates is not None and passport.rates.corrected
    assert [rate.policy for rate in passport.rates.rates] == [f"p{k}" for k in range(6)]
    assert passport.cells is not None and len(passport.cells.rates) == 12
    assert passport.phi is not None and passport.phi.clusters == 3
    assert passport.validation is not None
    assert (passport.validation.agreement["spearman"].value or 0) > 0.9


def test_runs_without_truth_or_with_another_judge_are_refused(judge: Path, run: Path) -> None:
    write_json(run / "summary.json", {"judge": {"hash": "another"}})
    with pytest.raises(UserError, match="used another judge"):
        recalibrated(judge, [run])
    (run / "outcomes/truth.csv").unlink()
    with pytest.raises(UserError, match="was not compared with measured outcomes"):
        recalibrated(judge, [run])
