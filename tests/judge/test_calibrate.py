"""Platt scaling with one slope: known answers."""

import numpy as np
import pytest

from worldeval.judge.calibrate import Calibration, calibrate, recalibrate
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


def test_rates_of_policies_are_right_where_episodes_cannot_be_told_apart() -> None:
    # The judge sees the outcome of an episode behind much noise, and nothing of the policy.
    rng = np.random.default_rng(0)
    rate = np.linspace(0.05, 0.95, 10)
    policy = np.repeat(np.arange(10), 400)
    success = rng.random(4000) < rate[policy]
    logit = np.where(success, 1.0, -1.0) + rng.normal(0, 1.5, 4000)
    task = np.zeros(4000, int)

    def slope_of_rates(fitted: Calibration) -> float:
        predicted = [fitted(logit[policy == k], task[policy == k]).mean() for k in range(10)]
        return float(np.polyfit(rate, predicted, 1)[0])

    by_episode = calibrate(logit, task, success, tasks=1)
    by_policy = calibrate(logit, task, success, tasks=1, cells=policy)
    assert slope_of_rates(by_episode) < 0.5
    assert slope_of_rates(by_policy) > slope_of_rates(by_episode) + 0.1


def test_a_closed_loop_that_is_too_gloomy_is_corrected() -> None:
    rng = np.random.default_rng(0)
    truth = Calibration(slope=1.0, offsets=(0.0, 1.0))
    gloomy = Calibration(slope=0.5, offsets=(-1.0, 0.0))
    policy, task = np.repeat(np.arange(8), 1000), np.tile([0, 1], 4000)
    logit = rng.normal(np.linspace(-2, 2, 8)[policy], 1)
    success = rng.random(8000) < truth(logit, task)
    assert gloomy.logit(gloomy(logit, task), task) == pytest.approx(logit)
    found = recalibrate(gloomy, gloomy(logit, task), task, policy, success)
    assert found.slope == pytest.approx(1.0, abs=0.15)
    assert found.offsets == pytest.approx((0.0, 1.0), abs=0.15)
