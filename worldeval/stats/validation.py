"""Validation of predicted against measured outcomes from any source (`worldeval validate`)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldeval.stats import findings
from worldeval.stats.agreement import MARGIN, Agreement, agreement
from worldeval.stats.combined import CombinedRates, combined_rates
from worldeval.stats.estimate import Estimate
from worldeval.stats.findings import Finding
from worldeval.stats.leave_out import Measures, leave_one_lineage_out, leave_one_policy_out
from worldeval.stats.outcomes import Outcomes
from worldeval.stats.ppi import correlation
from worldeval.stats.ranking import Ranking, rank
from worldeval.stats.shrunk import shrunk_rates
from worldeval.stats.units import aligned


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Agreement, both rankings, leave-one-out analysis, and findings."""

    agreement: Agreement
    predicted: Ranking
    real: Ranking
    without_policy: Mapping[str, Measures]
    without_lineage: Mapping[str, Measures]
    rho: float | None  # correlation of predicted and real over paired starts, within cells
    pairs: int  # starts that both sides have for the same policy
    combined: CombinedRates | None  # if more starts were predicted than run
    shrunk: Mapping[str, Estimate]  # rates from imagination and real trials (`shrunk.py`)
    findings: tuple[Finding, ...]

    @property
    def headline(self) -> str | None:
        """Headline to print above everything else; None if nothing is refused."""
        return findings.first_line(self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the `agreement` and `findings` of a summary, and the rest under `details`."""
        return {
            **self.agreement.to_json(),
            "findings": [f.to_json() for f in self.findings],
            "details": {
                "headline": self.headline,
                **self.agreement.details(),
                "paired_starts": self.pairs,
                "rho": self.rho,
                "combined": None if self.combined is None else self.combined.to_json(),
                "shrunk": {name: each.record() for name, each in self.shrunk.items()},
                "without_policy": dict(self.without_policy),
                "without_lineage": dict(self.without_lineage),
                "ranking": {
                    "predicted": self.predicted.to_json(),
                    "real": self.real.to_json(),
                },
            },
        }


def validate(
    predicted: Outcomes,
    real: Outcomes,
    *,
    rng: np.random.Generator,
    margin: float = MARGIN,
    level: float = 0.95,
) -> Validation:
    """Compare predicted with measured outcomes of the same policies on the same tasks.

    Raises:
        UserError: a policy or task is missing on one side, or there are fewer than 3 policies.
    """
    found = agreement(predicted, real, rng=rng, margin=margin, level=level)
    rankings = {
        side: rank(table, rng=rng, level=level)
        for side, table in (("predicted", predicted), ("real", real))
    }
    refused = list(found.findings)
    for side, ranking in rankings.items():
        refused += [
            replace(f, text=f"{side.capitalize()} outcomes: {f.text}") for f in ranking.findings
        ]
    seen = dict(zip(found.policies, found.predicted, strict=True))
    true = dict(zip(found.policies, found.real, strict=True))
    lineage = {**predicted.lineage, **real.lineage}
    rho, pairs = paired_correlation(predicted, real)
    if pairs == 0:
        refused.append(
            Finding(
                code="no_paired_starts",
                severity="warning",
                text="No policy was run from the same start on both sides, so the agreement "
                "applies to rates only, and real and imagined trials cannot be combined.",
            )
        )
    combined = combined_rates(predicted, real, level=level)
    refused += combined.findings if combined is not None else ()
    return Validation(
        agreement=found,
        predicted=rankings["predicted"],
        real=rankings["real"],
        without_policy=leave_one_policy_out(seen, true),
        without_lineage=leave_one_lineage_out(seen, true, lineage) if lineage else {},
        rho=rho,
        pairs=pairs,
        combined=combined,
        shrunk=shrunk_rates(predicted, real, level=level),
        findings=tuple(sorted(refused, key=lambda f: f.severity != "refusal")),
    )


def paired_correlation(predicted: Outcomes, real: Outcomes) -> tuple[float | None, int]:
    """Compute the correlation of outcomes from the same start, and the number of pairs.

    It is taken within each policy and task, which is what combining real and imagined trials of one
    policy can use. Between policies it would be high for any evaluator that ranks them.
    """
    s, r = aligned(predicted, real)
    both = ~np.isnan(s.mean) & ~np.isnan(r.mean)
    pairs = int(both.sum())
    if pairs == 0:
        return None, 0
    count = np.maximum(both.sum(axis=2, keepdims=True), 1)
    left = [
        np.where(both, side.mean, 0.0)
        - np.where(both, side.mean, 0.0).sum(axis=2, keepdims=True) / count
        for side in (s, r)
    ]
    return correlation(left[0][both], left[1][both]), pairs
