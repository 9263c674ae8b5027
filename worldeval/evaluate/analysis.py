# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
"""Analyse a run's outcomes: ranking, agreement with the measurement, baselines, gates, findings."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from worldeval.evaluate.gates import ACTION_EFFECT, Gates
from worldeval.evaluate.known import rates_of
from worldeval.evaluate.passport_check import PassportCheck
from worldeval.evaluate.validated import Validated
from worldeval.stats import (
    Agreement,
    CombinedRates,
    Estimate,
    Finding,
    Outcomes,
    Ranking,
    ValidatedRates,
    agreement,
    baseline,
    baseline_difference,
    combined_rates,
    from_frame,
    homogeneity,
    rank,
    shrunk_rates,
)
from worldeval.stats.combined import SUCCESS
from worldeval.stats.findings import (
    first_line,
    judge_uncalibrated,
    judge_uninformative,
    never_validated,
    untrustworthy,
)
from worldeval.stats.task_findings import not_beyond_validation, rates_do_not_spread

OWN_LINEAGES = 6  # measured in a run itself, from which the worth of its imagined rates is fitted
NEAR_MISS = 0.3  # largest upper bound of near misses that come out as success
MENDED = 0.01  # share of a rollout's action numbers that had to be clipped: beyond it, untrusted


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The results of a run, as records of `stats`.

    `to_json` makes them the content of summary.json, which is read as a `runs.summary.Summary`.
    """

    imagined: Ranking
    truth: Ranking | None
    agreement: Agreement | None
    combined: CombinedRates | None  # real rates from few real and many imagined trials
    groups: dict[str, dict[str, Any]]  # agreement within kinds of lineages
    baselines: dict[str, dict[str, float | None]]
    beyond: dict[str, dict[str, Estimate]]  # agreement of imagination minus that of each baseline
    shrunk: dict[str, Estimate]  # true rates by imagination and real trials (`stats.shrunk`)
    gates: Gates | None
    findings: tuple[Finding, ...]

    @property
    def headline(self) -> str | None:
        """Return the statement above a table that must not be read as a ranking."""
        return first_line(self.findings)


def analyse(
    imagined: pd.DataFrame,
    truth: pd.DataFrame | None,
    cards: pd.DataFrame,
    gates: Gates | None,
    *,
    margin: float,
    seed: int,
    validated: Validated | None = None,
    passport: PassportCheck | None = None,
    test: str = "betting",
    uncalibrated: bool = False,
) -> Analysis:
    """Rank the imagined outcomes and, if measured outcomes exist, measure the agreement.

    `truth` may hold some of the policies and tasks only, and other starts; `validated` is an
    earlier run's comparison with truth. Intervals are those of true rates where the passport, or
    else the truth of this run's other lineages, says what an imagined rate is worth. `test`
    compares two policies (`paired.compare_all`). `uncalibrated`: the judge never saw a recorded
    failure.
    """
    rng = np.random.default_rng(seed)
    predicted = from_frame(imagined, source="imagined outcomes", without_text=True)
    real = None
    if truth is not None:
        real = from_frame(truth, source="true outcomes", without_text=True)
    compared = real is not None and len(real.policies) >= 3
    passport = passport or PassportCheck()
    known = passport.known
    if not compared:  # otherwise the run says more of itself than its passport can
        validated = validated or passport.validated
    if known is None and truth is not None:
        own = ValidatedRates(rates=rates_of(paired_starts(imagined, truth)))
        # With fewer, a fit without one lineage is so uncertain that it could separate no pair.
        known = own if len({rate.lineage for rate in own.rates}) >= OWN_LINEAGES else None
    validation = compared or validated is not None
    ranking = rank(predicted, rng=rng, validated=validation, known=known, test=test)
    found = [*ranking.findings, *judge_uncalibrated(uncalibrated)]
    found += passport.findings(measured=compared)
    agreed = combined = None
    beyond, shrunk = dict[str, dict[str, Estimate]](), dict[str, Estimate]()
    groups: dict[str, dict[str, Any]] = {}
    if real is not None:
        same = predicted.only(policies=real.policies, tasks=real.tasks)
        if compared:
            agreed = agreement(same, real, rng=rng, margin=margin)
            found += agreed.findings
            # A separate generator, so that these draws do not change those of other results.
            own = np.random.default_rng([seed, 1])
            beyond = {
                name: baseline_difference(values, same, real, rng=own)
                for name, values in _rankers(real, cards).items()
            }
            groups = _groups(same, real, cards, rng=rng, margin=margin)
            found += not_beyond_validation(beyond)
        combined = combined_rates(same, real)
        found += combined.findings if combined is not None else ()
        shrunk = shrunk_rates(same, real, known=known)
    if validated is not None:
        found += validated.findings()
    spread = real if compared and real is not None else predicted
    found += rates_do_not_spread(spread, measured=compared)
    found += _unvalidated(predicted, real, cards, validated)
    if gates is not None:
        found += untrustworthy(
            false_success=gates.false_success,
            untrusted=float((imagined["mended"] > MENDED).mean()),
        )
        errs = _differs(imagined, truth, rng) if truth is not None else None
        found += judge_uninformative(gates.informativeness, errs, measured=compared)
        found += _near_misses(gates) + _actions(gates)
    return Analysis(
        imagined=ranking,
        truth=rank(real, rng=rng, test=test) if real is not None else None,
        agreement=agreed,
        combined=combined,
        groups=groups,
        baselines=_baselines(real, cards) if compared and real is not None else {},
        beyond=beyond,
        shrunk=shrunk,
        gates=gates,
        findings=tuple(sorted(found, key=lambda finding: finding.severity != "refusal")),
    )


def with_noted(findings: Sequence[Finding], noted: Sequence[Finding]) -> tuple[Finding, ...]:
    """Add findings that stand before all others of their severity."""
    return tuple(sorted((*noted, *findings), key=lambda each: each.severity != "refusal"))


def to_json(
    analysis: Analysis, cards: pd.DataFrame, *, seconds: dict[str, float], episodes: int
) -> dict[str, Any]:
    """Return the content of summary.json."""
    ranking, agreed, gates = analysis.imagined, analysis.agreement, analysis.gates
    out: dict[str, Any] = {
        "headline": analysis.headline,
        "policies": len(ranking.policies),
        "lineages": int(cards["lineage"].nunique()),
        "tasks": sorted({task for _, task in ranking.cells}),
        "episodes": episodes,
        "ranking": ranking.to_json(),
    }
    if analysis.truth is not None:
        out["truth"] = analysis.truth.to_json()
    if agreed is not None:
        out["agreement"] = agreed.to_json()
        out["agreement_details"] = agreed.details()
        out["within_task_spearman"] = agreed.within_task_spearman.value
        out["midrange_spearman"] = agreed.midrange_spearman.value
        out["cell_mae"] = agreed.cell_mae.value
        out["groups"] = analysis.groups
        out["baselines"] = analysis.baselines
        out["beyond_baselines"] = {
            name: {key: one.record() for key, one in found.items()}
            for name, found in analysis.beyond.items()
        }
    if analysis.combined is not None:
        out["combined"] = analysis.combined.to_json()
    if analysis.shrunk:
        out["shrunk"] = {name: one.record() for name, one in analysis.shrunk.items()}
    if gates is not None:
        out["gates"] = {name: getattr(gates, name).record() for name in gates.__dataclass_fields__}
    out["seconds"] = seconds
    if episodes and "imagine_cpu" in seconds:
        out["imagined_seconds_per_episode"] = seconds["imagine_cpu"] / episodes
    out["findings"] = [asdict(finding) for finding in analysis.findings]
    return out


def _groups(
    predicted: Outcomes,
    real: Outcomes,
    cards: pd.DataFrame,
    *,
    rng: np.random.Generator,
    margin: float,
) -> dict[str, dict[str, Any]]:
    """Measure agreement separately for lineages that validation error ranks well or misleads on."""
    out = {}
    for name, flag in (("validation_ranks_well", False), ("validation_misleads", True)):
        named = cards["policy"][cards["misleads"] == flag]
        chosen = [policy for policy in named if policy in real.policies]
        if len(chosen) < 3:
            continue
        s, r = predicted.only(policies=chosen), real.only(policies=chosen)
        agreed = agreement(s, r, rng=rng, margin=margin)
        own = cards[cards["misleads"] == flag]
        out[name] = {
            "policies": len(chosen),
            "imagination": {
                key: getattr(agreed, key).value for key in ("pearson", "spearman", "mmrv")
            },
            **_baselines(r, own),
        }
    return out


def _baselines(real: Outcomes, cards: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Measure how well cheaper baselines rank the same policies."""
    return {name: baseline(values, real) for name, values in _rankers(real, cards).items()}


def _rankers(real: Outcomes, cards: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the baseline scores of the policies; larger means better."""
    known = cards[cards["policy"].isin(real.policies)].set_index("policy")
    out = {}
    errors = known["validation_mse"]
    if errors.notna().all():
        mse = errors.astype(float)
        out["validation_mse"] = (-mse).to_dict()
        out["log_validation_mse"] = (-np.log(mse)).to_dict()
    out["training_step"] = known["step"].astype(float).to_dict()
    return out


def _unvalidated(
    predicted: Outcomes, real: Outcomes | None, cards: pd.DataFrame, validated: Validated | None
) -> list[Finding]:
    """Report lineages and tasks without any measured outcome."""
    if real is None and validated is None:
        return []  # nothing was measured, which `no_paired_truth` reports
    lineage = dict(zip(cards["policy"], cards["lineage"], strict=True))
    known = {lineage[policy] for policy in real.policies} if real is not None else set()
    tasks = set(real.tasks) if real is not None else set()
    return never_validated(
        lineages=sorted({lineage[policy] for policy in predicted.policies}),
        tasks=sorted(predicted.tasks),
        validated_lineages=known | (validated.lineages if validated else set()),
        validated_tasks=tasks | (validated.tasks if validated else set()),
    )


def _differs(imagined: pd.DataFrame, truth: pd.DataFrame, rng: np.random.Generator) -> float | None:
    """Test whether imagination and judge err equally on every policy, over paired starts."""
    pairs = paired_starts(imagined, truth)
    if "success" not in pairs or len(pairs) == 0:
        return None
    return homogeneity(
        (pairs["score"] > SUCCESS).tolist(),
        (pairs["success"].astype(int) == 1).tolist(),
        [str(policy) for policy in pairs["policy"]],
        rng=rng,
    )


def paired_starts(imagined: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each policy and start that was imagined and measured."""
    return imagined.merge(truth, on=["policy", "task", "start"], suffixes=("", "_real"))


def _near_misses(gates: Gates) -> list[Finding]:
    rate = gates.near_miss_false_success
    if rate.high is not None and rate.high <= NEAR_MISS:
        return []
    return [
        Finding(
            code="near_misses_succeed",
            severity="warning",
            text=f"Recorded near misses are judged as success at a rate of {rate} (n = {rate.n}), "
            "so policies that fail narrowly look better than they are.",
        )
    ]


def _actions(gates: Gates) -> list[Finding]:
    effect = gates.action_effect
    if effect.low is not None and effect.low >= ACTION_EFFECT:
        return []
    return [
        Finding(
            code="actions_ignored",
            severity="refusal",
            text=f"Zeroed or shuffled actions lower the predicted success by only {effect}; at "
            f"least {ACTION_EFFECT} is needed to show that the world model follows actions.",
        )
    ]
