"""Few real trials with many imagined ones, and judges that err."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.stats.tables import bernoulli, outcomes
from worldeval.errors import UserError
from worldeval.stats import (
    Confusion,
    calibrate,
    combine,
    combined_rates,
    confusion,
    confusion_per_policy,
    from_frame,
    homogeneity,
    informativeness,
    judge_findings,
    rogan_gladen,
    shrunk_rate,
    shrunk_rates,
    wilson,
)
from worldeval.stats.calibration import fit_isotonic, fit_temperature
from worldeval.stats.ppi import post_stratified, ppi_plus_plus
from worldeval.stats.predictive import ValidatedRate, fit_worth

Y = np.array([1.0] * 12 + [0.0] * 8)


def test_post_stratification_by_hand() -> None:
    paired = np.array([1.0] * 10 + [0.0] * 10)  # p1 = 10/10, p0 = 2/10
    imagined = np.array([1.0] * 60 + [0.0] * 20)  # w = (10 + 60) / 100
    found = post_stratified(Y, paired, imagined)
    assert found.value == pytest.approx(0.7 * 1.0 + 0.3 * 0.2)


def test_ppi_with_a_perfect_twin_is_the_imagined_rate() -> None:
    imagined = np.array([1.0] * 700 + [0.0] * 300)
    found = ppi_plus_plus(Y, Y, imagined)
    lam = 1 / (1 + 20 / 1000)
    assert found.value == pytest.approx(lam * 0.7 + (1 - lam) * 0.6)


def test_imagination_that_helps_narrows_the_interval(rng: np.random.Generator) -> None:
    imagined = (rng.random(2000) < 0.6).astype(float)
    found = combine(Y, np.where(np.arange(20) == 3, 0.0, Y), imagined)
    low, high = wilson(12, 20)
    assert found.findings == ()
    assert (found.estimate.width or 1) < 0.8 * (high - low)
    assert found.share_saved == pytest.approx(1 - ((found.estimate.width or 1) / (high - low)) ** 2)
    assert found.trials_saved == pytest.approx(20 * found.share_saved / (1 - found.share_saved))


@pytest.mark.parametrize(("n", "selected"), [(5, 0.45), (10, 0.22)])
def test_what_imagination_saves_is_not_selected_upwards(
    n: int, selected: float, rng: np.random.Generator
) -> None:
    """Start-level imagination with a correlation of .18, where the pairs happen to look better."""
    by_width, by_rho = [], []
    for _ in range(300):
        real = (rng.random(n) < 0.6).astype(float)
        paired = np.where(rng.random(n) < 0.18, real, rng.random(n) < 0.6)
        found = combine(real, paired, (rng.random(100) < 0.6).astype(float))
        if found.rho is not None and not found.findings:
            by_width.append(found.share_saved)
            by_rho.append(found.rho**2 * 100 / (n + 100))
    assert np.mean(by_width) < 0.12  # what it truly saves: .18^2 = .03
    assert np.mean(by_rho) > selected


def test_imagination_that_does_not_correlate_is_refused() -> None:
    paired = np.tile([1.0, 0.0], 10)
    found = combine(Y, paired, np.ones(500))
    assert [f.code for f in found.findings] == ["real_trials_only"]
    assert (found.estimate.low, found.estimate.high) == pytest.approx(wilson(12, 20))
    assert found.trials_saved == 0.0


def test_constant_imagination_has_no_correlation() -> None:
    found = combine(Y, np.ones(20), np.ones(500))
    assert found.rho is None
    assert found.estimate.value == pytest.approx(0.6)


def test_pairs_must_match() -> None:
    with pytest.raises(UserError, match="20 real outcomes but 3 paired imagined ones"):
        combine(Y, np.ones(3), np.ones(5))
    with pytest.raises(UserError, match="between 0 and 1"):
        combine(Y * 2, Y, np.ones(5))


def test_graded_scores_use_betting(rng: np.random.Generator) -> None:
    real = rng.beta(2, 2, 200)
    found = combine(real, real, rng.beta(2, 2, 2000))
    assert found.estimate.method == "prediction-powered betting"
    assert (found.estimate.low or 1) < 0.5 < (found.estimate.high or 0)


JUDGE = Confusion(true_positive=45, false_negative=5, true_negative=40, false_positive=10)


def test_rogan_gladen_by_hand() -> None:
    # Se = .9, Sp = .8: 59% yes means (.59 + .8 - 1) / .7 = .557 success.
    found = rogan_gladen(0.59, 100, JUDGE)
    assert found.value == pytest.approx(0.39 / 0.7)
    assert informativeness(JUDGE).value == pytest.approx(0.7)
    assert judge_findings(JUDGE) == []


def test_a_judge_that_tells_nothing_is_refused() -> None:
    coin = Confusion(true_positive=25, false_negative=25, true_negative=25, false_positive=25)
    assert rogan_gladen(0.5, 100, coin).value is None
    assert [f.code for f in judge_findings(coin)] == ["judge_uninformative"]


def test_a_judge_that_favours_a_policy_is_found(rng: np.random.Generator) -> None:
    policy = ["a"] * 40 + ["b"] * 40
    truth = [True, False] * 40
    fair = [x if i % 5 else not x for i, x in enumerate(truth)]
    biased = [True] * 40 + truth[40:]
    assert (homogeneity(fair, truth, policy, rng=rng) or 0) > 0.2
    p = homogeneity(biased, truth, policy, rng=rng)
    assert (p or 1) < 0.01
    assert [f.code for f in judge_findings(JUDGE, p)] == ["judge_differs_by_policy"]
    assert confusion_per_policy(biased, truth, policy)["a"].specificity == 0.0
    assert confusion(truth, truth).sensitivity == 1.0
    assert homogeneity(truth[:40], truth[:40], policy[:40], rng=rng) is None


def test_temperature_is_recovered(rng: np.random.Generator) -> None:
    logit = rng.normal(0, 2, 5000)
    truth = (rng.random(5000) < 1 / (1 + np.exp(-logit))).astype(float)
    overconfident = 1 / (1 + np.exp(-3 * logit))
    assert fit_temperature(overconfident, truth).temperature == pytest.approx(3, rel=0.1)


def test_isotonic_pools_violators() -> None:
    fitted = fit_isotonic(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]))
    np.testing.assert_allclose(fitted.levels, [0, 0.5, 0.5, 1])


def test_calibration_is_cross_fitted_by_group(rng: np.random.Generator) -> None:
    logit = rng.normal(0, 2, 400)
    truth = (rng.random(400) < 1 / (1 + np.exp(-logit))).astype(float)
    groups = [f"g{i % 20}" for i in range(400)]
    found = calibrate(1 / (1 + np.exp(-3 * logit)), truth, groups, rng=rng)
    assert found.method == "temperature"
    assert found.log_loss[1] < found.log_loss[0]
    assert found.expected_error[1] < found.expected_error[0]
    with pytest.raises(UserError, match="All 400 labels are the same"):
        calibrate(np.full(400, 0.5), np.ones(400), groups, rng=rng)
    with pytest.raises(UserError, match="cannot be split"):
        calibrate(np.full(400, 0.5), truth, ["g"] * 400, rng=rng)


def test_each_policy_is_corrected_by_its_own_real_trials() -> None:
    real = outcomes(lambda k, t, c: float(c % 4 < k), policies=4, starts=8)
    twin = outcomes(lambda k, t, c: float(c % 4 < k), policies=4, starts=80, kind="score")
    found = combined_rates(twin, real)
    assert found is not None and found.findings[0].code == "real_trials_only"
    some = found.policies["p2"]  # right about every pair: 16 real trials and 144 imagined
    assert some.estimate.value == pytest.approx(0.5)
    assert 0 < found.to_json()["p2"]["trials_saved"] < 144  # 16 pairs show no perfection
    # Policy 0 never succeeds: nothing correlates, and its real trials speak alone.
    assert found.policies["p0"].trials_saved == 0
    assert combined_rates(real, real) is None  # nothing was imagined beyond the pairs


def worth_of(phi: float, rng: np.random.Generator):
    """Learned from 40 policies whose true rates scatter about the imagined ones."""
    shown = rng.uniform(0.1, 0.9, 40)
    true = rng.beta(shown * phi, (1 - shown) * phi)
    return fit_worth(
        [
            ValidatedRate(
                policy=f"p{k}", lineage=f"l{k}", predicted=float(s), trials=200,
                successes=float(rng.binomial(200, r)),
            )
            for k, (s, r) in enumerate(zip(shown, true, strict=True))
        ],
        corrected=True,
    )  # fmt: skip


def test_a_shrunk_rate_by_hand() -> None:
    """phi = 18 and no doubt of it: Beta(9 + 4, 9 + 1) after 4 successes in 5 at an imagined .5."""
    sure = replace(
        worth_of(18, np.random.default_rng(0)),
        phi=np.array([18.0]), a=np.zeros(1), b=np.ones(1), weight=np.ones(1),
    )  # fmt: skip
    found = shrunk_rate(sure, 0.5, 4, 5)
    assert found.value == pytest.approx(13 / 23)
    assert (found.low, found.high) == pytest.approx(
        tuple(stats.beta(13, 10).ppf([0.025, 0.975])), abs=1e-4
    )
    assert shrunk_rate(sure, 0.5, 0, 0).value == pytest.approx(0.5)


@pytest.mark.parametrize("n", [5, 10])
def test_few_real_trials_are_nearer_to_the_truth_with_imagination(
    n: int, rng: np.random.Generator
) -> None:
    worth = worth_of(18, rng)
    shown = rng.uniform(0.1, 0.9, 60)
    true = rng.beta(shown * 18, (1 - shown) * 18)
    won = rng.binomial(n, true)
    found = [shrunk_rate(worth, float(s), float(k), n) for s, k in zip(shown, won, strict=True)]
    error = np.mean([abs((e.value or 0) - r) for e, r in zip(found, true, strict=True)])
    assert error < 0.8 * np.abs(won / n - true).mean()
    assert error < 0.95 * np.abs(shown - true).mean()
    inside = [(e.low or 0) <= r <= (e.high or 0) for e, r in zip(found, true, strict=True)]
    assert np.mean(inside) >= 0.88


def test_a_lineage_does_not_speak_for_itself() -> None:
    rates = np.linspace(0.1, 0.9, 12)  # four runs of three
    predicted, real = (bernoulli(rates, np.random.default_rng(i), starts=40) for i in (0, 1))  # type: ignore[arg-type]
    found = shrunk_rates(predicted, real)
    assert set(found) == set(real.policies)
    assert found["p0"].n == 80
    # Three runs in all leave two others: nothing is learned from two.
    some = real.policies[:9]
    assert shrunk_rates(predicted.only(policies=some), real.only(policies=some)) == {}


def test_starts_spread_unevenly_over_tasks_are_not_pooled() -> None:
    twin = outcomes(lambda k, t, c: float((c + k) % 2), policies=3, starts=40)
    uneven = from_frame(
        pd.DataFrame(
            [
                (f"p{k}", f"t{t}", f"s{c}", (c + k) % 2)
                for k in range(3)
                for t, count in ((0, 10), (1, 5))
                for c in range(count)
            ],
            columns=["policy", "task", "start", "success"],
        )
    )
    found = combined_rates(twin, uneven)
    assert found is not None and not found.policies
    assert [f.code for f in found.findings] == ["uneven_real_trials"]
