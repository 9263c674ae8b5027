"""A mean over episodes with its 95% interval: what every number of fidelity is."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from worldeval.axes import Array, Float


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over `n` episodes; no interval where one episode is all there is."""

    value: float
    low: float | None
    high: float | None
    n: int


def mean_of(values: Float[Array, " n"]) -> Mean | None:
    """The mean with Student's interval, episodes being independent; None without any."""
    values = np.asarray(values, np.float64)
    if not len(values):
        return None
    value, count = float(values.mean()), len(values)
    if count == 1:
        return Mean(value=value, low=None, high=None, n=1)
    half = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return Mean(value=value, low=float(value - half), high=float(value + half), n=count)
