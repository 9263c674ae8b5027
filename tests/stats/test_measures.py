# The library's stubs are narrower than what it takes and gives.
# pyright: reportArgumentType=false, reportCallIssue=false
"""Known answers of shared reference values: SIMPLER's MMRV (arXiv 2405.05941) worked by hand."""

import numpy as np
import pytest
from scipy import stats

from worldeval.stats import measures


@pytest.mark.parametrize(
    ("predicted", "real", "answer"),
    [
        ((0.6, 0.5, 0.9), (0.2, 0.5, 0.9), 0.2),
        ((0.9, 0.5, 0.1), (0.2, 0.5, 0.9), 0.6),
        ((0.3, 0.5, 0.4, 0.7), (0.2, 0.4, 0.45, 0.8), 0.025),
        ((0.2, 0.4, 0.45, 0.8), (0.3, 0.5, 0.4, 0.7), 0.05),  # the same with arguments swapped
        ((0.5, 0.5, 0.9), (0.2, 0.5, 0.9), 0.1),
        ((0.5, 0.5, 0.5), (0.2, 0.5, 0.9), 0.3333),
    ],
)
def test_mmrv_known_answers(predicted: tuple, real: tuple, answer: float) -> None:
    found = measures.mmrv(predicted=np.array(predicted), real=np.array(real))
    assert found == pytest.approx(answer, abs=5e-5)


def test_mmrv_takes_no_positional_arguments() -> None:
    with pytest.raises(TypeError):
        measures.mmrv(np.ones(3), np.ones(3))  # type: ignore[misc]


def test_correlations_agree_with_scipy_on_batches(rng: np.random.Generator) -> None:
    s, r = rng.integers(0, 5, (2, 10, 7)) / 5  # with ties
    for ours, theirs in (
        (measures.pearson, stats.pearsonr),
        (measures.spearman, stats.spearmanr),
        (measures.kendall, stats.kendalltau),
    ):
        expected = [theirs(a, b)[0] for a, b in zip(s, r, strict=True)]
        np.testing.assert_allclose(ours(s, r), expected)


@pytest.mark.parametrize("measure", [measures.pearson, measures.spearman, measures.kendall])
def test_correlation_with_a_constant_is_undefined(measure) -> None:
    varied, constant = np.array([0.1, 0.5, 0.7]), np.full(3, 0.3)
    assert np.isnan(measure(varied, constant))
    assert np.isnan(measure(constant, varied))


def test_permutation_p_has_the_floor_of_all_orders() -> None:
    x = np.array([0.1, 0.2, 0.3, 0.4])
    assert measures.permutation_p(x, x) == pytest.approx(1 / 24)
    assert measures.permutation_p(-x, x) == pytest.approx(1.0)
    assert measures.permutation_p(x, np.zeros(4)) is None


def test_pairwise_accuracy_counts_ties_half_and_leaves_close_pairs_out() -> None:
    real = np.array([0.1, 0.5, 0.52])
    # Pairs above .05: (0, 1) right, (0, 2) tied.
    found = measures.pairwise_accuracy(np.array([0.2, 0.3, 0.2]), real, margin=0.05)
    assert found == pytest.approx(0.75)
    assert np.isnan(measures.pairwise_accuracy(real, real, margin=0.9))


def test_regret_of_choosing_by_prediction() -> None:
    real = np.array([0.9, 0.5, 0.1])
    assert measures.top_regret(np.array([0.1, 0.2, 0.3]), real) == pytest.approx(0.8)
    assert measures.top_regret(np.array([0.1, 0.3, 0.2]), real, top=2) == pytest.approx(0.4)
    # An evaluator that cannot choose takes the mean, not the first.
    assert measures.top_regret(np.ones(3), real) == pytest.approx(0.4)


def test_fisher_z_needs_four_policies() -> None:
    assert measures.fisher_z(0.9, 3, level=0.95) is None
    low, high = measures.fisher_z(0.9, 10, level=0.95) or (0, 0)
    expected = np.tanh(np.arctanh(0.9) + np.array([-1, 1]) * 1.959964 / np.sqrt(7))
    assert (low, high) == pytest.approx(tuple(expected), abs=1e-6)
