"""A value at the start of an episode, on drawn policies whose true rates are known."""

import numpy as np
import pytest

from worldeval.stats.value_zero import (
    check_value_zero,
    fit_value_zero,
    read,
    split,
    spread_order,
    start_kernel,
)

STARTS, POLICIES = 60, 30
TASK = np.repeat([0, 1], STARTS // 2)


def drawn(seed: int = 0, policies: int = POLICIES):
    """Policies differ in skill, some fail on one side; starts are points, harder further out."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(-1, 1, (STARTS, 2))
    skill = rng.normal(0.3, 1.2, policies)
    side = rng.choice([-3.0, 0.0, 3.0], policies)
    logit = skill[:, None] + 1.5 - 3 * np.abs(at[:, 1]) - 0.7 * TASK + side[:, None] * at[:, 0]
    rate = 1 / (1 + np.exp(-logit))
    return at, rate, (rng.random(rate.shape) < rate).astype(float)


def test_it_predicts_new_policies_better_than_their_rate_and_is_calibrated() -> None:
    at, rate, results = drawn()
    kernel = start_kernel(TASK, at)
    found = check_value_zero(results, kernel, context=20, rng=np.random.default_rng(1))
    ideal = float((rate * (1 - rate)).mean())  # Brier score of the true rates
    assert found.n == POLICIES * (STARTS - 20)
    assert found.brier < found.brier_of_rate - 0.3 * (found.brier_of_rate - ideal)
    assert found.error < 0.05
    for each in found.bins:
        if each.n > 100:
            assert abs(each.predicted - each.measured) < 0.1
    assert sum(each.n for each in found.bins) == found.n


def test_more_results_of_a_policy_say_more() -> None:
    at, rate, results = drawn()
    model = fit_value_zero(results[:-1], start_kernel(TASK, at), rng=np.random.default_rng(0))
    error = []
    for count in (0, 5, 40):
        shown = split(results[-1], count, np.random.default_rng(3))[0] if count else (
            np.full(STARTS, np.nan)
        )  # fmt: skip
        error.append(float(np.square(model.predict(shown, results[:-1]) - rate[-1]).mean()))
    assert error[2] < error[0]


def test_a_start_does_not_tell_its_own_result() -> None:
    at, _, results = drawn()
    kernel, others = start_kernel(TASK, at), results[1:]
    flipped = results[0].copy()
    flipped[7] = 1 - flipped[7]

    def told(result: np.ndarray, start: int) -> np.ndarray:
        return read(result, others, None, kernel, np.array([start]))

    assert np.array_equal(told(results[0], 7), told(flipped, 7))
    assert not np.array_equal(told(results[0], 8), told(flipped, 8))


def test_imagination_that_knows_the_rates_is_believed() -> None:
    at, rate, results = drawn()
    kernel = start_kernel(TASK, at)
    given = {"context": 10, "rng": np.random.default_rng(1)}
    found = check_value_zero(results, kernel, imagined=rate, **given)
    ideal = float((rate * (1 - rate)).mean())
    assert found.brier < ideal + 0.015
    noise = np.random.default_rng(2).random(rate.shape)
    misled = check_value_zero(results, kernel, imagined=noise, **given)
    without = check_value_zero(results, kernel, **given)
    assert misled.brier < without.brier + 0.01  # noise gets no weight


def test_starts_are_alike_within_their_task_alone() -> None:
    task = np.array([0, 0, 0, 1])
    kernel = start_kernel(task, np.array([[0.0], [0.1], [5.0], [0.0]]))
    assert kernel.alike[0, 1] > 0.9 and kernel.alike[0, 2] < 0.1 and kernel.alike[0, 3] == 0
    assert np.array_equal(start_kernel(task).alike, np.eye(4))


def test_fewer_than_three_policies_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 policies"):
        fit_value_zero(np.ones((2, 4)), start_kernel(np.zeros(4, int)),
                       rng=np.random.default_rng(0))  # fmt: skip


def test_an_order_is_spread_over_easy_and_hard_starts() -> None:
    predicted = np.array([0.9, 0.1, 0.5, 0.3, 0.7, 0.2, 0.8, 0.4])
    order = spread_order(predicted, 0.0)
    assert sorted(order.tolist()) == list(range(8))
    assert predicted[order[:4]].tolist() == [0.1, 0.5, 0.3, 0.8]  # of ranks 0, 4, 2, 6
    assert sorted(spread_order(np.zeros(7), 0.37).tolist()) == list(range(7))


def test_spread_trials_give_unbiased_rates_that_vary_less() -> None:
    _, rate, _ = drawn()
    rng, truth = np.random.default_rng(5), rate[3]
    guess = np.clip(truth + rng.normal(0, 0.1, STARTS), 0, 1)
    plain, spread, wrong = [], [], []
    for _ in range(600):
        outcome = (rng.random(STARTS) < truth).astype(float)
        plain.append(outcome[rng.permutation(STARTS)[:8]].mean())
        spread.append(outcome[spread_order(guess, rng.random())[:8]].mean())
        wrong.append(outcome[spread_order(rng.random(STARTS), rng.random())[:8]].mean())
    assert np.mean(spread) == pytest.approx(truth.mean(), abs=0.02)
    assert np.mean(wrong) == pytest.approx(truth.mean(), abs=0.02)
    assert np.var(spread) < 0.8 * np.var(plain)
