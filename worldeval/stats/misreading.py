"""Whether a change of a policy's inputs or outputs makes it agree with its demonstrators.

Every change is judged by the same policy's errors on the same moments before and after it, with the
episode as the unit. The thresholds were chosen on the development sets of
`benchmarks/policy_check.py`, and judged on others.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy

from worldeval.axes import Array, Float
from worldeval.stats.estimate import Estimate
from worldeval.stats.letters import holm

LEAST_EPISODES = 5  # fewer establish nothing
LEVEL = 0.95  # of all changes together
CERTAIN_GAIN = 0.05  # share of the error that must be gained for certain
GAIN = 0.2  # share of the error that must be gained on average
# The same for changes of what a policy returns: noisy actions gain by being scaled down.
GAIN_RETURNED = 0.5
INFORMED = 0.5  # largest error after a change, as a share of that of answers to other moments
ALIKE = 0.05  # p-value above which two changes help alike


@dataclass(frozen=True, kw_only=True)
class ErrorsOfChange:
    """Errors of one change, a number per episode, all in the same unit."""

    code: str
    before: Float[Array, " e"]  # on the columns that it touches
    after: Float[Array, " e"]
    total: Float[Array, " e"]  # after the change, on all columns
    returned: bool = False  # whether it changes what the policy returns


@dataclass(frozen=True, kw_only=True)
class ChangeEffect:
    """What one change does to a policy's error."""

    code: str
    before: float
    after: float
    total: float
    gain: Estimate  # before minus after, mean over episodes; simultaneous over all changes
    returned: bool
    p_holm: float  # that less than `CERTAIN_GAIN` of the error is gained
    # After the change, with answers to moments of other episodes (or, of a lag, when standing
    # still, if that is less); None if not worked out.
    shuffled: float | None = None

    @property
    def share(self) -> float:
        """Share of the error that is gained."""
        return 1 - self.after / self.before if self.before > 0 else 0.0

    @property
    def helps(self) -> bool:
        """Whether the error falls by a large share, for certain."""
        least = GAIN_RETURNED if self.returned else GAIN
        return self.p_holm <= 1 - LEVEL and self.share >= least

    @property
    def informed(self) -> bool:
        """Whether the changed answers belong to their moments.

        Untrained policies may gain from a change too: a constant is nearer to the demonstrators
        than another. Their answers to other moments gain as much.
        """
        return self.shuffled is not None and self.after <= INFORMED * self.shuffled

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as plain data."""
        return asdict(self) | {"gain": self.gain.to_json(), "share": self.share}


def effects(tried: Sequence[ErrorsOfChange]) -> list[ChangeEffect]:
    """Judge all changes that were tried, together."""
    count = max(len(tried), 1)
    adjusted = holm(np.array([_p(each.before, each.after) for each in tried]))
    return [
        ChangeEffect(
            code=each.code,
            before=float(each.before.mean()),
            after=float(each.after.mean()),
            total=float(each.total.mean()),
            gain=_interval(each.before - each.after, count),
            returned=each.returned,
            p_holm=float(adjusted[index]),
        )
        for index, each in enumerate(tried)
    ]


def alike(best: ErrorsOfChange, others: Sequence[ErrorsOfChange]) -> list[str]:
    """Return the codes of the changes after which the error is not larger than after the best."""
    return [
        other.code
        for other in others
        if other.code != best.code and _one_sided(other.total - best.total) > ALIKE
    ]


def _p(before: Float[Array, " e"], after: Float[Array, " e"]) -> float:
    """p-value of a paired t-test over episodes."""
    return _one_sided((1 - CERTAIN_GAIN) * before - after)


def _one_sided(difference: Float[Array, " e"]) -> float:
    """p-value that the mean of a difference is not above zero."""
    n = len(difference)
    if n < LEAST_EPISODES:
        return 1.0
    mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(n)
    if error < 1e-12:
        return 0.0 if mean > 1e-9 else 1.0
    return float(scipy.stats.t.sf(mean / error, n - 1))


def _interval(difference: Float[Array, " e"], comparisons: int) -> Estimate:
    n, value = len(difference), float(difference.mean())
    half = None
    if n > 1:
        quantile = scipy.stats.t.ppf(1 - (1 - LEVEL) / (2 * comparisons), n - 1)
        half = float(quantile * difference.std(ddof=1) / np.sqrt(n))
    return Estimate(
        value=value,
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        level=LEVEL,
        n=n,
        clusters=n,
        method="paired t over episodes, Bonferroni over the changes tried",
    )
