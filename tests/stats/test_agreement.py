"""Agreement with truth, its ceiling, and sabotage."""

import json

import numpy as np
import pytest

from tests.stats.tables import bernoulli, outcomes
from worldeval.errors import UserError
from worldeval.stats import agreement, baseline, noise_ceiling, validate
from worldeval.stats.leave_out import leave_one_lineage_out, leave_one_policy_out
from worldeval.stats.resample import interval

RATES = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)


def test_a_perfect_evaluator_on_the_same_starts(rng: np.random.Generator) -> None:
    real = bernoulli(RATES, rng, tasks=2, starts=40)
    found = agreement(real, real, rng=rng)
    assert found.pearson.value == pytest.approx(1.0)
    assert found.mmrv.value == found.top1_regret.value == found.cell_mae.value == 0.0
    assert found.pairwise_accuracy.value == 1.0
    assert found.findings == ()
    assert (found.slope, found.intercept) == pytest.approx((1.0, 0.0))


def test_json_has_the_keys_of_a_summary(rng: np.random.Generator) -> None:
    real = bernoulli(RATES, rng, tasks=2, starts=40)
    found = agreement(bernoulli(RATES, rng, tasks=2, starts=40), real, rng=rng).to_json()
    json.dumps(found, allow_nan=False)
    measures = ["pearson", "spearman", "kendall", "mmrv", "pairwise_accuracy", "top1_regret"]
    assert list(found) == [*measures, "ceiling", "ceiling_graded", "methods"]
    assert all(set(found[name]) == {"value", "low", "high"} for name in measures)
    assert set(found["ceiling"]) == set(found["ceiling_graded"]) == {"pearson", "spearman", "mmrv"}
    assert found["methods"]["pearson"] == "Fisher z over 3 lineages"
    assert found["methods"]["kendall"] == "resampled starts, these policies"
    for name in measures:
        if found["methods"][name].startswith(("Fisher", "withheld")):
            assert found[name]["low"] is None  # three lineages make no interval
            continue
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]


@pytest.mark.parametrize(("low", "high", "median"), [(0.1, 0.9, 0.965), (0.4, 0.7, 0.743)])
def test_noise_ceiling_known_answers(low: float, high: float, median: float) -> None:
    found = noise_ceiling(
        np.linspace(low, high, 8)[:, None], n_real=50, n_predicted=50,
        rng=np.random.default_rng(0), draws=4000,
    )  # fmt: skip
    assert found["pearson"].value == pytest.approx(median, abs=0.015)


def test_baselines_need_a_number_for_every_policy(rng: np.random.Generator) -> None:
    real = bernoulli(RATES, rng, tasks=1, starts=200)
    found = baseline({f"p{k}": float(k) for k in range(8)}, real)
    assert found["spearman"] == pytest.approx(1.0)
    assert found["mmrv"] == 0.0
    assert baseline({f"p{k}": 1.0 for k in range(8)}, real)["pearson"] is None
    with pytest.raises(UserError, match="no value for policy 'p7'"):
        baseline({f"p{k}": float(k) for k in range(7)}, real)


def test_both_sides_must_hold_the_same(rng: np.random.Generator) -> None:
    real = bernoulli(RATES, rng)
    with pytest.raises(UserError, match="policy 'p7' is in the real outcomes but not in"):
        agreement(bernoulli(RATES[:7], rng), real, rng=rng)
    with pytest.raises(UserError, match="at least 3"):
        agreement(bernoulli(RATES[:2], rng), bernoulli(RATES[:2], rng), rng=rng)


def test_a_graded_evaluator_may_agree_better_than_a_binary_one(rng: np.random.Generator) -> None:
    """The noise of its own starts is missing: .98 against .965 (rates .1 to .9, 50 starts)."""
    real = bernoulli(np.linspace(0.1, 0.9, 8), rng, tasks=1, starts=50)  # type: ignore[arg-type]
    found = agreement(real, real, rng=rng)
    binary, graded = found.ceiling["pearson"], found.ceiling_graded["pearson"]
    assert "binary" in binary.method and "graded" in graded.method
    assert (graded.value or 0) > (binary.value or 1) + 0.005
    assert (found.ceiling_graded["mmrv"].value or 1) < (found.ceiling["mmrv"].value or 0)


@pytest.mark.parametrize(
    ("value", "perfect", "best", "ends"),
    [
        (0.90, 0.95, 1.0, (0.88, 0.90 / 0.95)),  # 1 is not put in: noise does not explain the rest
        (0.96, 0.95, 1.0, (0.94, 1.0)),
        (0.10, 0.06, 0.0, (0.021, 0.12)),  # MMRV: noise alone may have added .06
        (0.05, 0.06, 0.0, (0.0, 0.07)),
    ],
)
def test_the_better_end_is_corrected_for_the_noise_of_a_perfect_evaluator(
    value: float, perfect: float, best: float, ends: tuple[float, float]
) -> None:
    draws = np.linspace(value - 0.02, value + 0.02, 2001)
    found = interval(value, draws, np.full(2001, perfect), best=best, worst=1 - best, level=0.95)
    assert found == pytest.approx(ends, abs=2e-3)


def test_three_policies_are_too_few_to_tell(rng: np.random.Generator) -> None:
    three = bernoulli((0.1, 0.5, 0.9), rng, tasks=2, starts=40)
    (said,) = agreement(three, three, rng=rng).findings
    assert (said.code, said.severity) == ("too_few_to_tell", "refusal")
    assert "p = 0.17" in said.text and "at least 5" in said.text
    five = bernoulli((0.1, 0.3, 0.5, 0.7, 0.9), rng, tasks=2, starts=40)
    assert agreement(five, five, rng=rng).findings == ()
    # Four with two alike on both sides: no order has p below 2 / 24.
    tied = outcomes(lambda k, t, c: float(c % 4 < min(k, 2)), policies=4)
    assert [f.code for f in agreement(tied, tied, rng=rng).findings] == ["too_few_to_tell"]


def test_a_task_that_is_biased_for_all_is_named(rng: np.random.Generator) -> None:
    """The order is right and every gate would pass; rates on t1 are .24 too low."""

    def side(shift: float):
        rates = np.array(RATES)[:, None] + np.array([0.0, shift])
        return outcomes(
            lambda k, t, c: float(rng.random() < np.clip(rates[k, t], 0, 1)), policies=8, starts=60
        )

    found = agreement(side(-0.24), side(0.0), rng=rng)
    (said,) = [f for f in found.findings if f.code == "task_biased"]
    assert said.severity == "warning" and "Predicted rates on t1 are biased" in said.text
    assert (found.task_bias["t1"].high or 0) < 0 < (found.task_bias["t0"].high or 0)
    assert (found.pearson.value or 0) > 0.9
    fair = agreement(side(0.0), side(0.0), rng=rng)
    assert "task_biased" not in {f.code for f in fair.findings}


def test_weak_policies_that_carry_r_are_said(rng: np.random.Generator) -> None:
    real = (0.02, 0.05, 0.05, 0.1, 0.6, 0.7, 0.8, 0.9)
    blind = (*real[:4], 0.8, 0.7, 0.8, 0.7)  # bad from good, and no good one from another
    found = agreement(
        bernoulli(blind, rng, tasks=2, starts=100), bernoulli(real, rng, tasks=2, starts=100),
        rng=rng,
    )  # fmt: skip
    (said,) = [f for f in found.findings if f.code == "weak_policies_carry_r"]
    assert (found.pearson.value or 0) > 0.9 and (found.pearson_strong.value or 0) < 0.45
    assert f"Pearson's r of {found.pearson.value:.2f}" in said.text
    right = agreement(*(bernoulli(real, rng, tasks=2, starts=100) for _ in "sr"), rng=rng)
    assert "weak_policies_carry_r" not in {f.code for f in right.findings}


def test_leaving_out_shows_what_it_hangs_on() -> None:
    predicted = {"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.9}
    real = {"a": 0.2, "b": 0.2, "c": 0.3, "d": 0.9}
    without = leave_one_policy_out(predicted, real)
    assert (without["a"]["pearson"] or 0) > 0.9 > 0.5 > (without["d"]["pearson"] or 0)
    groups = leave_one_lineage_out(predicted, real, {"a": "x", "b": "x", "c": "x"})
    assert set(groups) == {"x", "d"}
    assert groups["x"]["pearson"] is None


# Sabotage: each is refused, or its interval does not shrink.


def codes(predicted, real, rng: np.random.Generator) -> set[str]:
    found = validate(predicted, real, rng=rng)
    return {f.code for f in found.findings if f.severity == "refusal"}


def test_sabotage_shuffled_truth(rng: np.random.Generator) -> None:
    honest = bernoulli(RATES, rng, tasks=2, starts=40)
    shuffled = bernoulli((0.5, 0.97, 0.2, 0.8, 0.05, 0.9, 0.35, 0.65), rng, tasks=2, starts=40)
    assert codes(honest, honest, rng) == set()
    assert "no_better_than_chance" in codes(honest, shuffled, rng)


def test_sabotage_always_success(rng: np.random.Generator) -> None:
    real = bernoulli(RATES, rng, tasks=2, starts=40)
    found = validate(
        outcomes(lambda k, t, c: 1.0, policies=8, tasks=2, starts=40), real, rng=rng
    )  # fmt: skip
    assert found.agreement.pearson.value is None
    assert found.agreement.spearman.to_json() == {"value": None, "low": None, "high": None}
    assert (found.headline or "").startswith("NOT A RANKING (correlation_undefined)")


def test_sabotage_ignores_the_policy(rng: np.random.Generator) -> None:
    real = bernoulli(RATES, rng, tasks=2, starts=40)
    blind = bernoulli((0.5,) * 8, rng, tasks=2, starts=40)
    assert "cannot_be_told_apart" in codes(blind, real, rng)


def test_sabotage_tenfold_copies(rng: np.random.Generator) -> None:
    wins = rng.random((2, 8, 1, 20)) < np.array(RATES)[:, None, None]

    def make(side: int, seeds: tuple[int, ...]):
        return outcomes(
            lambda k, t, c: float(wins[side, k, t, c]), policies=8, tasks=1, starts=20, seeds=seeds
        )

    once = agreement(make(0, (0,)), make(1, (0,)), rng=np.random.default_rng(1))
    ten = tuple(range(10))
    copied = agreement(make(0, ten), make(1, ten), rng=np.random.default_rng(1))
    assert copied.to_json() == once.to_json()
