"""A test is chosen before looking."""

from pathlib import Path

import pandas as pd
import pytest

from tests.support.synthetic_run import synthetic_run
from worldeval.errors import UserError
from worldeval.evaluate.budget import Spending
from worldeval.evaluate.chosen_test import check_test, check_trials


def check(test: str, run: Path, *, starts: int = 24, policies: int = 5, **spending) -> None:
    check_test(test, run=run, starts=starts, policies=policies, spending=Spending(**spending))


def test_a_run_keeps_the_test_that_it_was_read_with(tmp_path: Path) -> None:
    check("mcnemar", tmp_path)  # nothing was seen yet
    run = synthetic_run(tmp_path / "run", films=False)
    check("betting", run)
    check("betting", run, starts=48)  # may be extended at any time
    with pytest.raises(UserError, match="already summarised with --test betting, now mcnemar"):
        check("mcnemar", run)


def test_mcnemar_is_read_once(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "run", films=False)
    summary = run / "summary.json"
    summary.write_text(summary.read_text().replace('"test": "betting"', '"test": "mcnemar"'))
    check("mcnemar", run)  # the same again
    for more in ({"starts": 48}, {"policies": 6}):
        with pytest.raises(UserError, match="cannot be extended by starts or policies"):
            check("mcnemar", run, **more)


@pytest.mark.parametrize(
    "spending", [{"allocate": "halving"}, {"stop_when_separated": True}, {"rollouts": 40}]
)
def test_mcnemar_needs_a_fixed_number_of_starts(tmp_path: Path, spending: dict) -> None:
    with pytest.raises(UserError, match="fixed beforehand"):
        check("mcnemar", tmp_path, **spending)
    check("betting", tmp_path, **spending)


def test_unknown_tests_and_uneven_trials_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unknown --test t-test"):
        check("t-test", tmp_path)
    rows = [(p, "x", c, 1) for p, n in (("a", 3), ("b", 5)) for c in range(n)]
    trials = pd.DataFrame(rows, columns=["policy", "task", "start", "success"])
    check_trials("betting", trials)
    with pytest.raises(UserError, match="same number of starts on every task"):
        check_trials("mcnemar", trials)
