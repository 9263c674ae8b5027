"""Curves fitted to few labels: which one is taken, and what each does with few."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from worldeval.config import build
from worldeval.errors import UserError
from worldeval.evaluate.label_fits import (
    BY_TASK,
    COMMON,
    FITS,
    ISOTONIC,
    NONE,
    corrected,
    fit_by_task,
    fit_common,
    fit_isotonic_by_task,
    left_out_losses,
)
from worldeval.files import read_json
from worldeval.judge.correction import Correction, TaskCorrection


def labels(count: int, offsets: dict[str, float], seed: int = 0):
    """Scores, outcomes that each task's offset makes of them, tasks and policies."""
    rng = np.random.default_rng(seed)
    task = rng.choice(list(offsets), count)
    score = expit(rng.normal(0, 1.5, count))
    shift = np.array([offsets[name] for name in task])
    success = rng.random(count) < expit(logit(score) + shift)
    return score, success, task, rng.integers(0, 6, count)


def best(*given: np.ndarray) -> str:
    losses = left_out_losses(*given)
    return min(losses, key=lambda name: losses[name])


def test_what_tasks_need_is_taken() -> None:
    assert best(*labels(3000, {"open": 2.0, "close": -2.0})) == BY_TASK
    assert best(*labels(3000, {"open": 1.5, "close": 1.5})) in (COMMON, BY_TASK)
    losses = left_out_losses(*labels(3000, {"open": 2.0, "close": -2.0}))
    assert list(losses) == list(FITS) and losses[BY_TASK] < losses[COMMON] < losses[NONE]


def test_a_step_is_found_by_isotonic_regression() -> None:
    rng = np.random.default_rng(1)
    score, task = rng.random(2000), rng.choice(["open", "close"], 2000)
    cut = np.where(task == "open", 0.2, 0.8)
    success = rng.random(2000) < np.where(score > cut, 0.95, 0.05)
    assert best(score, success, task, rng.integers(0, 5, 2000)) == ISOTONIC


def test_few_labels_keep_to_the_common_curve() -> None:
    score, success, task, _ = labels(400, {"open": 0.0, "close": 0.0})
    task[:9] = "rare"
    fitted = fit_by_task(score, success, task)
    assert set(fitted.tasks) == {"open", "close"}  # nine labels are too few
    assert fitted(np.array([0.3]), "rare") == fitted(np.array([0.3]), "never seen")
    common = fit_common(score, success, task)
    assert fitted.slope == common.slope and not common.tasks
    score, success, task, _ = labels(24, {"open": 3.0, "close": -3.0})
    wide = fit_by_task(score, success, task).tasks
    assert all(abs(each.offset) < 2.5 for each in wide.values())


def test_one_task_has_one_curve() -> None:
    score, success, task, _ = labels(100, {"open": 1.0})
    for fit in (fit_by_task, fit_isotonic_by_task):
        assert not fit(score, success, task).tasks


def test_labels_of_one_policy_cannot_be_left_out() -> None:
    score, success, task, policy = labels(50, {"open": 1.0, "close": 0.0})
    assert left_out_losses(score, success, task, 0 * policy) == {}


def test_a_correction_is_written_and_read(tmp_path: Path) -> None:
    score, success, task, _ = labels(200, {"open": 1.0, "close": -1.0})
    fitted = fit_isotonic_by_task(score, success, task)
    path = tmp_path / "c.json"
    path.write_text(json.dumps(asdict(fitted)))
    again = build(Correction, read_json(path), where=str(path))
    np.testing.assert_array_equal(corrected(again, score, task), corrected(fitted, score, task))
    after = corrected(fitted, score, task)
    order = np.lexsort((score, task))
    same = np.diff(np.unique(task, return_inverse=True)[1][order]) == 0
    assert (np.diff(after[order])[same] >= -1e-12).all()  # it never turns the order round
    assert np.isnan(fitted(np.array(np.nan), "open"))


@pytest.mark.parametrize(
    "wrong",
    [{"slope": float("nan")}, {"weight": 0.5}, {"weight": 2.0, "knots": (0.1,), "levels": (0.1,)},
     {"knots": (0.5, 0.1), "levels": (0.0, 1.0)}, {"knots": (0.5,), "levels": ()},
     {"knots": (0.5,), "levels": (1.5,)}],
)  # fmt: skip
def test_odd_corrections_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        TaskCorrection(**wrong)
    with pytest.raises(UserError):
        build(Correction, {"tasks": {"open": wrong}}, where="c.json")


def test_the_fit_finds_a_known_bias_and_stays_at_home_without_evidence() -> None:
    rng = np.random.default_rng(0)
    score = rng.uniform(0.05, 0.95, 4000)
    shown = np.log(score / (1 - score))
    success = rng.random(4000) < 1 / (1 + np.exp(-(0.5 * shown - 1.0)))
    found = fit_common(score, success, np.full(4000, "open"))
    assert found.slope == pytest.approx(0.5, abs=0.06) and found.offset == pytest.approx(
        -1, abs=0.1
    )
    sure = fit_common(np.array([0.9] * 10 + [0.1] * 10), np.arange(20) < 10, np.full(20, "open"))
    assert 0.5 < sure.slope < 4  # perfectly separated labels do not give infinite certainty
