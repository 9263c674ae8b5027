"""Labels drawn by importance: probabilities that are right, and a rate without bias."""

import numpy as np
import pytest

from worldeval.stats.priority import by_priority, chances, corrected_rate

N = 200


def test_a_known_answer() -> None:
    weight, uniform = np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.5, 0.5])
    assert by_priority(weight, uniform).tolist() == [2, 1, 0]
    # The first is taken; the next has w / u = 4: min(1, 4 / 4) = 1. Of two: min(1, w / 2) = 1, 1.
    assert chances(weight, uniform, 1).tolist() == [1.0]
    assert chances(weight, np.array([0.9, 0.8, 0.9]), 2).tolist() == [1.0, 1.0]
    assert chances(np.ones(3), np.array([0.2, 0.4, 0.8]), 2).tolist() == [0.8, 0.8]
    assert chances(weight, uniform, 3).tolist() == [1.0] * 3


def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, a judge that is far too optimistic where it is unsure, and the truth."""
    rng = np.random.default_rng(3)
    judged = rng.beta(0.5, 0.5, N).clip(0.01, 0.99)
    true = (rng.random(N) < judged**3).astype(float)
    return 0.1 + 0.9 * 2 * np.sqrt(judged * (1 - judged)), judged, true


def test_the_rate_is_unbiased_though_labels_are_not_representative() -> None:
    weight, judged, true = world()
    rng, found, plain, covered = np.random.default_rng(0), [], [], 0
    for _ in range(1500):
        uniform = rng.random(N)
        taken = by_priority(weight, uniform)[:40]
        rate = corrected_rate(true[taken], judged[taken], chances(weight, uniform, 40), judged)
        found.append(rate.value)
        plain.append(judged.mean() + (true[taken] - judged[taken]).mean())
        assert rate.low is not None and rate.high is not None
        covered += rate.low <= true.mean() <= rate.high
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(true.mean(), abs=4 * error)
    # The same labels, taken for a random sample, are wrong by far more.
    assert abs(np.mean(plain) - true.mean()) > 20 * error
    assert covered / 1500 > 0.93


def test_with_every_label_it_is_the_truth() -> None:
    weight, judged, true = world()
    order = by_priority(weight, np.full(N, 0.5))
    rate = corrected_rate(true[order], judged[order], chances(weight, np.full(N, 0.5), N), judged)
    assert rate.value == pytest.approx(true.mean()) and rate.n == N


def test_labels_without_an_error_do_not_give_certainty() -> None:
    right = np.array([1.0] * 5 + [0.0] * 5)
    rate = corrected_rate(right, right, np.full(10, 0.1), np.tile(right, 10))
    assert rate.value == 0.5 and rate.width is not None and rate.width > 0.2
