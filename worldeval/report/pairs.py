"""Agreement of imagined and measured outcomes of the same policy from the same start."""

from dataclasses import dataclass
from math import fsum

import numpy as np

from worldeval.runs.episodes import CUT
from worldeval.stats import Estimate, Outcomes, rate


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Counts of paired episodes; an imagined one is a success at a probability of 1/2 or more."""

    both: int  # success, both imagined and measured
    neither: int
    imagined_only: int  # optimism
    real_only: int  # pessimism

    @property
    def total(self) -> int:
        """Number of paired episodes."""
        return self.both + self.neither + self.imagined_only + self.real_only

    @property
    def optimism(self) -> Estimate:
        """Share of the measured failures that were imagined as success."""
        return rate(self.imagined_only, self.imagined_only + self.neither)

    @property
    def pessimism(self) -> Estimate:
        """Share of the measured successes that were imagined as failure."""
        return rate(self.real_only, self.real_only + self.both)


def pairs(imagined: Outcomes, real: Outcomes) -> Pairs | None:
    """Compare outcomes start by start; None if no policy has a start in common on both sides.

    Several seeds of one start are averaged first.
    """
    here, there = _by_start(imagined), _by_start(real)
    shared = [key for key in here if key in there]
    if not shared:
        return None
    says = np.array([here[key] for key in shared]) >= CUT
    happened = np.array([there[key] for key in shared]) >= CUT
    return Pairs(
        both=int((says & happened).sum()),
        neither=int((~says & ~happened).sum()),
        imagined_only=int((says & ~happened).sum()),
        real_only=int((~says & happened).sum()),
    )


def _by_start(outcomes: Outcomes) -> dict[tuple[str, str, str], float]:
    found: dict[tuple[str, str, str], list[float]] = {}
    for policy, task, start, value in zip(
        outcomes.policy, outcomes.task, outcomes.start, outcomes.value, strict=True
    ):
        key = (outcomes.policies[policy], outcomes.tasks[task], start)
        found.setdefault(key, []).append(float(value))
    # numpy's mean is slow for a few numbers and would dominate the time spent here.
    return {key: fsum(values) / len(values) for key, values in found.items()}
