"""What an imagined rate is worth: known answers, and coverage by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from worldeval.errors import UserError
from worldeval.stats import ValidatedRate, ValidatedRates, conformal, fit_worth
from worldeval.stats.outcomes import from_frame
from worldeval.stats.predictive import draw_true_rates, trials_to_tell
from worldeval.stats.ranking import rank


def drawn_rates(
    rng: np.random.Generator,
    *,
    lineages: int,
    phi: float,
    trials: int = 100,
    a: float = 0.0,
    b: float = 1.0,
) -> list[ValidatedRate]:
    """Policies whose true rates are Beta(mu phi, (1 - mu) phi), one of each lineage."""
    predicted = rng.uniform(0.05, 0.95, lineages)
    mean = expit(a + b * logit(predicted))
    true = rng.beta(mean * phi, (1 - mean) * phi)
    return [
        ValidatedRate(
            policy=f"lineage-{i}/1",
            lineage=f"lineage-{i}",
            predicted=float(s),
            successes=float(rng.binomial(trials, r)),
            trials=trials,
        )
        for i, (s, r) in enumerate(zip(predicted, true, strict=True))
    ]


@pytest.mark.parametrize("phi", [5.0, 20.0, 80.0])
def test_phi_is_found_again(phi: float) -> None:
    rng = np.random.default_rng(0)
    worth = fit_worth(drawn_rates(rng, lineages=150, phi=phi, trials=1000))
    assert worth.trials.value == pytest.approx(phi, rel=0.3)


def test_a_judge_that_exaggerates_is_corrected() -> None:
    """Rates half as far from 1/2 on the logit scale, and lower throughout."""
    rng = np.random.default_rng(1)
    worth = fit_worth(drawn_rates(rng, lineages=150, phi=60, trials=1000, a=-0.5, b=0.6))
    assert worth.weight @ worth.a == pytest.approx(-0.5, abs=0.15)
    assert worth.weight @ worth.b == pytest.approx(0.6, abs=0.12)
    assert worth.mean(0.9) == pytest.approx(expit(-0.5 + 0.6 * logit(0.9)), abs=0.03)


def test_a_corrected_judge_is_taken_at_its_word() -> None:
    rates = drawn_rates(np.random.default_rng(2), lineages=12, phi=20)
    worth = fit_worth(rates, corrected=True)
    assert set(worth.a) == {0.0}
    assert set(worth.b) == {1.0}
    assert worth.mean(0.7) == pytest.approx(0.7)


def test_checkpoints_of_one_lineage_weigh_as_one() -> None:
    """Ten copies of each policy, under ten names of its lineage, say no more than one."""
    rates = drawn_rates(np.random.default_rng(3), lineages=6, phi=15)
    copies = [
        ValidatedRate(
            policy=f"{rate.lineage}/{copy}",
            lineage=rate.lineage,
            predicted=rate.predicted,
            successes=rate.successes,
            trials=rate.trials,
        )
        for rate in rates
        for copy in range(10)
    ]
    once, often = fit_worth(rates), fit_worth(copies)
    assert often.trials.value == pytest.approx(once.trials.value, rel=1e-6)
    assert often.trials.high == pytest.approx(once.trials.high, rel=1e-6)


def test_the_interval_covers_new_lineages_where_sampling_alone_does_not() -> None:
    """Fitted to 8 lineages, asked of 30 others, in 60 worlds; 600 imagined starts each.

    An interval for the sampling of 600 starts describes the imagined rate and covers few true ones.
    """
    rng = np.random.default_rng(4)
    held, sampling, total = 0, 0, 0
    for _ in range(60):
        phi = float(rng.uniform(10, 40))
        worth = fit_worth(drawn_rates(rng, lineages=8, phi=phi), corrected=True)
        new = rng.uniform(0.05, 0.95, 30)
        true = rng.beta(new * phi, (1 - new) * phi)
        draws = worth.draw(np.tile(new, (2000, 1)), rng=rng)
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        held += int(((low <= true) & (true <= high)).sum())
        half = 1.96 * np.sqrt(new * (1 - new) / 600)
        sampling += int((abs(new - true) <= half).sum())
        total += 30
    assert 0.93 <= held / total <= 0.99
    assert sampling / total < 0.5


def imagined(rates: dict[str, float], starts: int) -> pd.DataFrame:
    """Every start of a policy imagined at its rate: nothing random."""
    return pd.DataFrame(
        [
            {"policy": policy, "lineage": policy, "task": "open", "start": f"s{n}", "score": rate}
            for policy, rate in rates.items()
            for n in range(starts)
        ]
    )


def test_more_imagination_does_not_make_a_pair_surer_than_it_is() -> None:
    """.70 against .60: 2,000 starts separate the imagined rates, and not the true ones."""
    known = ValidatedRates(rates=tuple(drawn_rates(np.random.default_rng(5), lineages=10, phi=18)))
    table = from_frame(imagined({"a": 0.7, "b": 0.6}, 2000))
    alone = rank(table, rng=np.random.default_rng(0))
    assert alone.policies[0].letters != alone.policies[1].letters
    ranked = rank(table, rng=np.random.default_rng(0), known=known)
    first, second = ranked.policies
    assert first.letters == second.letters
    assert 0.5 < first.probability_best < 0.95
    pair = ranked.comparisons[0]
    assert pair.needed is None
    assert pair.needed_trials is not None
    assert pair.needed_trials > 50
    assert any(
        "More imagined starts cannot separate them" in found.text for found in ranked.findings
    )
    assert first.predictive is not None
    assert (first.predictive.width or 0) > 3 * (first.estimate.width or 1)


def test_policies_far_apart_are_separated() -> None:
    known = ValidatedRates(rates=tuple(drawn_rates(np.random.default_rng(6), lineages=10, phi=30)))
    ranked = rank(
        from_frame(imagined({"a": 0.9, "b": 0.15}, 20)), rng=np.random.default_rng(0), known=known
    )
    assert [row.letters for row in ranked.policies] == ["a", "b"]
    kept = ranked.to_json()
    assert kept["worth"]["value"] > kept["worth_quartile"] > 0
    assert kept["policies"][0]["predictive"]["value"] > 0.7
    assert ranked.policies[0].probability_best > 0.99


def test_a_policy_never_speaks_for_its_own_lineage() -> None:
    """The lineage that is ranked is left out of the fit: its own luck proves nothing."""
    others = drawn_rates(np.random.default_rng(7), lineages=6, phi=4)
    own = [
        ValidatedRate(policy=f"own/{n}", lineage="own", predicted=0.5, successes=50, trials=100)
        for n in range(50)
    ]
    known = ValidatedRates(rates=(*others, *own))
    left_out, everybody = known.worth("own"), known.worth("stranger")
    assert left_out is not None
    assert everybody is not None
    assert left_out.lineages == tuple(sorted(rate.lineage for rate in others))
    assert "own" in everybody.lineages


def test_too_few_lineages_withhold_the_interval() -> None:
    rates = drawn_rates(np.random.default_rng(8), lineages=2, phi=20)
    with pytest.raises(UserError, match="at least 3"):
        fit_worth(rates)
    known = ValidatedRates(rates=tuple(rates))
    ranked = rank(
        from_frame(imagined({"a": 0.9, "b": 0.2}, 20)), rng=np.random.default_rng(0), known=known
    )
    assert ranked.worth is None
    assert all(row.predictive is None for row in ranked.policies)


def test_policies_of_one_worth_share_its_draws() -> None:
    """One draw of (phi, a, b) for a row: with phi huge, equal imagined rates give equal rates."""
    rates = drawn_rates(np.random.default_rng(9), lineages=40, phi=2000, trials=100_000)
    worth = fit_worth(rates)
    drawn = draw_true_rates(np.full((500, 2), 0.6), [worth, worth], rng=np.random.default_rng(0))
    assert abs(drawn[:, 0] - drawn[:, 1]).mean() < 0.02


def test_trials_that_tell_a_pair() -> None:
    """By hand: z = 1.96 + .84, spread = .21 + .24 = .45, (2.8 / .1)^2 .45 = 353, less phi + 1."""
    worth = fit_worth(
        drawn_rates(np.random.default_rng(10), lineages=100, phi=20, trials=1000), corrected=True
    )
    needed = trials_to_tell(worth, 0.7, 0.6)
    assert needed == pytest.approx(353 - worth.quantile(0.5) - 1, abs=2)
    assert trials_to_tell(worth, 0.7, 0.7) is None
    assert trials_to_tell(worth, 0.99, 0.01) == 0


def test_conformal_needs_enough_lineages() -> None:
    """Nine for 90%, nineteen for 95%; the radius is the order statistic, by hand."""
    rates = [
        ValidatedRate(policy=f"p{i}", lineage=f"l{i}", predicted=0.5, successes=50 + i, trials=100)
        for i in range(19)
    ]
    assert conformal(rates[:8], level=0.9) is None
    nine = conformal(rates[:9], level=0.9)
    assert nine is not None
    assert nine.radius == pytest.approx(0.08)
    assert conformal(rates[:18]) is None
    everyone = conformal(rates)
    assert everyone is not None
    assert everyone.radius == pytest.approx(0.18)
