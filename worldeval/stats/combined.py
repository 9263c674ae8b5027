"""Real success rate of every policy, estimated from few real and many imagined trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldeval.stats.findings import Finding
from worldeval.stats.outcomes import Outcomes
from worldeval.stats.ppi import Combined, combine
from worldeval.stats.units import aligned

SUCCESS = 0.5  # imagined probability above which a start counts as an imagined success


@dataclass(frozen=True, kw_only=True)
class CombinedRates:
    """Combined rate of each policy, and findings about policies that cannot be combined."""

    policies: Mapping[str, Combined]
    pairs: Mapping[str, int]  # starts that are both real and imagined
    imagined: Mapping[str, int]  # starts that were only imagined
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return a record per policy: its rate, and the real trials that imagination replaced."""
        return {
            name: {
                "rate": found.estimate.record(),
                "real_starts": self.pairs[name],
                "imagined_starts": self.imagined[name],
                "rho": found.rho,
                "share_saved": found.share_saved,
                "trials_saved": found.trials_saved,
            }
            for name, found in self.policies.items()
        }


def combined_rates(
    predicted: Outcomes, real: Outcomes, *, level: float = 0.95
) -> CombinedRates | None:
    """Correct each policy's imagined rate by its real trials, or return None if nothing is gained.

    Combining helps only if some starts were imagined but not run. Both sides must have the same
    policies and tasks. A policy needs the same number of real starts on every task, and the same
    number of imagined-only starts: its rate is the mean over tasks, so starts must weigh the same.

    Raises:
        UserError: a policy or task is missing on one side.
    """
    s, r = aligned(predicted, real)
    shown = s.mean
    if r.binary and not s.binary:
        # Any split of the starts is valid for stratification. Splitting the judge's probabilities
        # at 1/2 allows the binary interval, which is far narrower than the graded one.
        shown = np.where(np.isnan(shown), np.nan, shown > SUCCESS)
    both = ~np.isnan(s.mean) & ~np.isnan(r.mean)
    alone = ~np.isnan(s.mean) & np.isnan(r.mean)
    if not both.any() or not alone.any():
        return None
    found: dict[str, Combined] = {}
    pairs, more, uneven = {}, {}, []
    for k, name in enumerate(s.policies):
        pairs[name], more[name] = int(both[k].sum()), int(alone[k].sum())
        if any(np.ptp(part[k].sum(axis=1)) for part in (both, alone)):
            uneven.append(name)
        else:
            found[name] = combine(
                r.mean[k][both[k]], shown[k][both[k]], shown[k][alone[k]], level=level
            )
    return CombinedRates(
        policies=found, pairs=pairs, imagined=more, findings=(*_unhelpful(found), *_uneven(uneven))
    )


def _unhelpful(found: Mapping[str, Combined]) -> list[Finding]:
    """Refusal 4 over all policies: rates for which imagination could not be used."""
    refused = [name for name, one in found.items() if one.findings]
    if not refused:
        return []
    first = found[refused[0]].findings[0]
    return [
        Finding(
            code=first.code,
            severity="warning",
            text=f"The rates of {len(refused)} of {len(found)} policies use real trials only "
            f"({_some(refused)}), because imagined outcomes correlate too weakly with them. "
            f"{refused[0]}: {first.text}",
        )
    ]


def _uneven(policies: list[str]) -> list[Finding]:
    if not policies:
        return []
    return [
        Finding(
            code="uneven_real_trials",
            severity="warning",
            text=f"Real and imagined trials of {_some(policies)} are not combined, because their "
            "starts are not spread evenly over the tasks. Run the same number on every task.",
        )
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
