"""What a report reads from a run folder, whole or with parts missing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.synthetic_run import RATES, STARTS, TASKS
from worldeval.errors import UserError
from worldeval.report.contents import ReportContents, read_contents
from worldeval.report.words import headline


def read(folder: Path) -> ReportContents:
    return read_contents(folder, rng=np.random.default_rng(0))


def change(run: Path, **values: Any) -> None:
    path = run / "summary.json"
    content = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def test_a_complete_run_is_read_whole(run: Path) -> None:
    contents = read(run)
    assert {row.policy for row in contents.rows} == set(RATES)
    assert [row.rank for row in contents.rows] == [1, 2, 3, 4, 5]
    assert contents.rows[0].policy == "bc-all@2400"
    assert {task.task for task in contents.tasks} == set(TASKS)
    assert all(task.starts == STARTS for task in contents.tasks)
    assert [each.name for each in contents.evaluators] == [
        "Imagination",
        "Perfect binary evaluator, same number of starts",
        "Perfect graded evaluator",
        "Validation MSE",
        "Log validation MSE",
        "Training step",
    ]
    assert len(contents.measures) == 6
    assert len(contents.gates) == 5
    assert contents.episodes == len(RATES) * len(TASKS) * STARTS
    assert len(contents.strips) == 5
    assert contents.pairs is not None and contents.pairs.imagined_only >= 1


def test_real_rates_are_those_of_the_outcomes(run: Path) -> None:
    truth = pd.read_csv(run / "outcomes/truth.csv")
    contents = read(run)
    for row in contents.rows:
        own = truth[truth["policy"] == row.policy]
        assert row.truth is not None and row.truth.has_interval
        # Every task has as many starts, so that the mean of the means is the mean.
        assert row.truth.value == pytest.approx(own["success"].mean())
    for task in contents.tasks:
        for cell in task.cells:
            rows = (truth["policy"] == cell.policy) & (truth["task"] == task.task)
            assert cell.truth is not None
            assert cell.truth.value == pytest.approx(truth[rows]["success"].mean())
        known = [(c.predicted.value, c.truth.value) for c in task.cells if c.truth]
        errors = np.abs(np.diff(np.array(known, float), axis=1))
        assert task.error == pytest.approx(errors.mean())


def test_a_policy_not_yet_tried_on_every_task_has_its_cells_only(run: Path) -> None:
    path = run / "outcomes/truth.csv"
    truth = pd.read_csv(path)
    gone = (truth["policy"] == "blind") & (truth["task"] == TASKS[1])
    truth[~gone].to_csv(path, index=False)
    contents = read(run)
    assert {row.policy for row in contents.rows if row.truth is None} == {"blind"}
    cells = {task.task: {c.policy: c.truth for c in task.cells} for task in contents.tasks}
    assert cells[TASKS[0]]["blind"] is not None
    assert cells[TASKS[1]]["blind"] is None


def test_without_a_summary_the_ranking_is_computed(run: Path) -> None:
    before = read(run)
    (run / "summary.json").unlink()
    after = read(run)
    assert [row.policy for row in after.rows] == [row.policy for row in before.rows]
    assert [row.predicted for row in after.rows] == [row.predicted for row in before.rows]
    assert after.evaluators == after.gates == ()


@pytest.mark.parametrize(
    "part", ["agreement", "baselines", "gates", "groups", "seconds", "findings", "ranking", "world"]
)
def test_a_missing_part_is_empty_and_no_error(run: Path, part: str) -> None:
    change(run, **{part: None})
    assert len(read(run).rows) == 5


@pytest.mark.parametrize("part", ["agreement", "baselines", "gates", "groups", "findings", "world"])
def test_a_part_of_another_form_is_refused_by_name(run: Path, part: str) -> None:
    change(run, **{part: ["what", {"is": "this"}]})
    with pytest.raises(UserError, match=rf"summary\.json is invalid: '{part}"):
        read(run)


@pytest.mark.parametrize(
    ("content", "says"), [("{", "not readable JSON"), ("[]", "must contain a JSON object")]
)
def test_a_damaged_summary_is_an_error_that_names_it(run: Path, content: str, says: str) -> None:
    (run / "summary.json").write_text(content)
    with pytest.raises(UserError, match=says):
        read(run)


def test_a_folder_without_results_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no run folder"):
        read(tmp_path / "gone")
    with pytest.raises(UserError, match="worldeval rank"):
        read(tmp_path)


def test_the_headline_names_the_best_and_who_is_not_told_from_it(run: Path) -> None:
    said = headline(read(run))
    assert not said.refused
    assert said.verdict.startswith("bc-all@2400 leads")
    assert "flow-all@2000" in said.verdict
    assert any("Spearman" in sentence for sentence in said.sentences)


def test_a_refusal_comes_first_and_takes_the_rates_back(run: Path) -> None:
    finding = {"code": "false_success", "severity": "refusal", "text": "Optimistic."}
    change(run, findings=[finding])
    said = headline(read(run))
    assert said.refused
    assert said.verdict == "This must not be read as a ranking. First in imagination: bc-all@2400."


def test_the_cost_of_a_wrong_choice_is_told(run: Path) -> None:
    path = run / "outcomes/truth.csv"
    truth = pd.read_csv(path)
    truth["success"] = (truth["policy"] == "bc-1@200").astype(int)
    truth.to_csv(path, index=False)
    assert any("choosing by imagination loses 1.00" in s for s in headline(read(run)).sentences)
