"""A mean over episodes with its 95% interval, the form of every fidelity measure."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from worldeval.axes import Array, Float


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over `n` episodes; without an interval if there is only one episode."""

    value: float
    low: float | None
    high: float | None
    n: int


def mean_of(values: Float[Array, " n"]) -> Mean | None:
    """Mean with Student's t interval over independent episodes; None without any."""
    values = np.asarray(values, np.float64)
    if not len(values):
        return None
    value, count = float(values.mean()), len(values)
    if count == 1:
        return Mean(value=value, low=None, high=None, n=1)
    half = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return Mean(value=value, low=float(value - half), high=float(value + half), n=count)
