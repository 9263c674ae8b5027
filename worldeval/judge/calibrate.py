"""From logits to probabilities: Platt scaling with one slope and an offset for each task."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from worldeval.axes import Array, Bool, Float, Int


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """P(success) = sigmoid(slope * logit + offset of the task)."""

    slope: float
    offsets: tuple[float, ...]

    def __call__(self, logit: Float[Array, " n"], task: Int[Array, " n"]) -> Float[Array, " n"]:
        return expit(self.slope * logit + np.asarray(self.offsets)[task])


def calibrate(
    logit: Float[Array, " n"],
    task: Int[Array, " n"],
    success: Bool[Array, " n"],
    *,
    tasks: int,
    prior: float = 0.5,
) -> Calibration:
    """Maximum likelihood (Platt, 1999), offsets drawn towards their mean by a Gaussian prior.

    `prior` is the precision of that pull: it matters for tasks with few labels or one outcome only.
    """
    sign = np.where(success, 1.0, -1.0)

    def cost(parameters: Array) -> float:
        slope, offsets = np.exp(parameters[0]), parameters[1:]
        likelihood = log_expit(sign * (slope * logit + offsets[task])).sum()
        return -likelihood + prior * np.square(offsets - offsets.mean()).sum() / 2

    best = minimize(cost, np.zeros(1 + tasks), method="L-BFGS-B")
    slope, offsets = float(np.exp(best.x[0])), best.x[1:]
    return Calibration(slope=slope, offsets=tuple(float(offset) for offset in offsets))
