"""Schedules of real trials: blinded, resumed, refused where they do not fit."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.support.synthetic_run import synthetic_run
from worldeval.cli import app
from worldeval.errors import UserError
from worldeval.evaluate.next_trials import KEY, SCHEDULE, TRIALS, _values, advise, answered
from worldeval.runs.tables import read_outcomes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run(tmp_path_factory.mktemp("run") / "r", films=False)


def fill(folder: Path, success: str, *, rows: int | None = None) -> None:
    """What a person does: the first empty cells of `success` are filled in."""
    table = pd.read_csv(folder / SCHEDULE, dtype=str, keep_default_na=False)
    cells = list(table["success"])
    empty = [row for row, cell in enumerate(cells) if cell == ""][:rows]
    table["success"] = [success if row in empty else cell for row, cell in enumerate(cells)]
    table.to_csv(folder / SCHEDULE, index=False)


def test_a_schedule_is_blinded_and_goes_to_the_policies_worth_trying(
    run: Path, tmp_path: Path
) -> None:
    advice = advise(run, tmp_path / "n", trials=20)
    assert advice.open == 20
    key = json.loads((tmp_path / "n" / KEY).read_text())
    text = (tmp_path / "n" / SCHEDULE).read_text() + (tmp_path / "n/schedule.html").read_text()
    assert not any(policy in text for policy in key)
    names = {code: policy for policy, code in key.items()}
    tried = {names[trial.code] for trial in advice.schedule}
    assert "blind" not in tried
    assert "bc-all@2400" in tried
    tasks = [trial.task for trial in advice.schedule]
    assert abs(tasks.count("drawer-open-v3") - tasks.count("door-open-v3")) <= 4


def test_what_was_filled_in_is_kept_and_counted(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "n"
    first = advise(run, folder, trials=10)
    fill(folder, "yes", rows=4)
    second = advise(run, folder, trials=10)
    assert sum(each.trials for each in second.candidates) == 4
    assert second.open == 10
    assert [t.number for t in second.schedule][:10] == [t.number for t in first.schedule]
    assert len(read_outcomes(folder / TRIALS)) == 4


def test_it_stops_when_the_choice_is_good_enough(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "n"
    real = tmp_path / "real.csv"
    rows = [
        {"policy": policy, "task": "drawer-open-v3", "start": f"x{n}", "success": int(n < good)}
        for policy, good in (("bc-all@2400", 95), ("flow-all@2000", 60), ("bc-all@250", 40))
        for n in range(100)
    ]
    pd.DataFrame(rows).to_csv(real, index=False)
    advice = advise(run, folder, trials=10, real=real)
    assert advice.enough
    assert advice.open == 0
    assert advice.chosen == "bc-all@2400"


def test_answers_are_kept_one_by_one(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "n"
    advice = advise(run, folder, trials=5)
    answered(advice, advice.schedule[0].number, True)
    assert sum(each.successes for each in advise(run, folder, trials=5).candidates) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("success", "maybe"), "write 1 or 0"),
        (("code", "ZZ"), "Change only the column `success`"),
        (("trial", "x"), "not a number"),
        (("start", "elsewhere"), "Change only the column `success`"),
    ],
)
def test_what_does_not_fit_is_refused(
    run: Path, tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    folder = tmp_path / "n"
    advise(run, folder, trials=5)
    table = pd.read_csv(folder / SCHEDULE, dtype=str, keep_default_na=False)
    table.loc[0, change[0]] = change[1]
    table.to_csv(folder / SCHEDULE, index=False)
    with pytest.raises(UserError, match=says):
        advise(run, folder, trials=5)


def test_numbers_out_of_range_and_lost_keys(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--trials"):
        advise(run, tmp_path / "n", trials=0)
    with pytest.raises(UserError, match="--confidence"):
        advise(run, tmp_path / "n", trials=1, confidence=1.0)
    advise(run, tmp_path / "n", trials=2)
    (tmp_path / "n" / KEY).unlink()
    with pytest.raises(UserError, match="cannot be mapped to policies"):
        advise(run, tmp_path / "n", trials=2)


def test_the_verb_asks_and_prints(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "n"
    command = ["next", str(run), "--trials", "3", "--out", str(out)]
    done = CliRunner().invoke(app, [*command, "--ask"], input="y\nwhat\nn\nq\n")
    assert done.exit_code == 0, done.output
    assert "trials so far" in done.output
    told = CliRunner().invoke(app, [*command, "--json"])
    assert told.exit_code == 0
    result = json.loads(told.stdout)
    assert sum(each["trials"] for each in result["candidates"]) == 2
    assert result["open"] == 3


def test_trials_are_spread_over_starts_by_their_predicted_success(
    run: Path, tmp_path: Path
) -> None:
    advice = advise(run, tmp_path / "n", trials=24, by_value=True)
    check = advice.value_check
    assert advice.by_value and check is not None
    assert check.brier < check.brier_of_rate  # imagined verdicts of this run are right
    assert sum(each.n for each in check.bins) == check.n == 5 * (24 - 10)
    values = _values(run, (), {}, None, 0)
    key = json.loads((tmp_path / "n" / KEY).read_text())
    code, count = Counter(trial.code for trial in advice.schedule).most_common(1)[0]
    policy = next(name for name, own in key.items() if own == code)
    for task in ("drawer-open-v3", "door-open-v3"):
        tried = [t.start for t in advice.schedule if t.code == code and t.task == task]
        assert len(set(tried)) == len(tried)
        every = [start for name, start in values.starts if name == task]
        ranks = np.argsort(np.argsort(values.of(policy, task, every)))
        halves = [int(ranks[every.index(start)] >= len(every) / 2) for start in tried]
        assert abs(2 * sum(halves) - len(halves)) <= 1  # as many easy as hard ones
    assert count >= 4


def test_without_measured_outcomes_starts_are_ordered_by_imagination(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "r", truth=False, films=False)
    advice = advise(run, tmp_path / "n", trials=6, by_value=True)
    assert advice.value_check is None and advice.open == 6
    said = CliRunner().invoke(app, ["next", str(run), "--by-value", "--trials", "6"])
    assert said.exit_code == 0, said.output
    assert "Too few measured outcomes for V0" in said.output


def test_the_verb_prints_calibration(run: Path, tmp_path: Path) -> None:
    words = ["next", str(run), "--by-value", "--out", str(tmp_path / "n")]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert "Brier score" in said.output and "calibration error" in said.output
