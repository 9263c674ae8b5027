"""Platt scaling with one slope: known answers."""

import numpy as np
import pytest

from worldeval.judge.calibrate import calibrate
from worldeval.judge.fit import family_groups, judged_well


def test_calibrated_probabilities_match_the_rates_that_made_them() -> None:
    rng = np.random.default_rng(0)
    task = rng.integers(0, 2, 20_000)
    logit = rng.normal(0, 2, 20_000)
    truth = 1 / (1 + np.exp(-(0.5 * logit + np.array([-1.0, 0.5])[task])))
    fitted = calibrate(logit, task, rng.random(20_000) < truth, tasks=2)
    assert fitted.slope == pytest.approx(0.5, abs=0.03)
    assert fitted.offsets == pytest.approx((-1.0, 0.5), abs=0.08)
    assert fitted(np.zeros(1), np.zeros(1, int))[0] == pytest.approx(1 / (1 + np.e), abs=0.02)


def test_a_task_with_one_outcome_only_stays_finite() -> None:
    logit = np.array([-2.0, -1.0, 1.0, 2.0, 3.0, 4.0])
    task = np.array([0, 0, 0, 0, 1, 1])
    fitted = calibrate(logit, task, np.array([0, 0, 1, 1, 1, 1], bool), tasks=2)
    assert np.isfinite([fitted.slope, *fitted.offsets]).all()


def test_families_are_left_out_whole() -> None:
    family = np.array(["a"] * 5 + ["b"] * 3 + ["c"] * 2 + ["d"] * 4, dtype=object)
    group = family_groups(family, 2)
    for name in "abcd":
        assert len(set(group[family == name])) == 1
    assert sorted(np.bincount(group)) == [7, 7]


def test_a_perfect_and_a_coin_tossing_judge() -> None:
    success = np.array([True, False, True, False])
    assert judged_well(success.astype(float), success)["auc"] == 1.0
    tossed = judged_well(np.full(4, 0.5), success)
    assert tossed["auc"] == 0.5
    assert tossed["brier"] == 0.25
    assert tossed["false_success"] == 0.5
