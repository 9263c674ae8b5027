"""Calibrate logits to probabilities: Platt scaling with one slope and one offset per task."""

from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from worldeval.axes import Array, Bool, Float, Int

LEAST = 1e-6  # probabilities are clipped to at least this distance from 0 and 1


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """P(success) = sigmoid(slope * logit + offset of the task)."""

    slope: float
    offsets: tuple[float, ...]

    def __post_init__(self) -> None:
        if not np.isfinite([self.slope, *self.offsets]).all():
            raise ValueError(f"slope {self.slope} and offsets {self.offsets} must be finite")

    def __call__(self, logit: Float[Array, " n"], task: Int[Array, " n"]) -> Float[Array, " n"]:
        return expit(self.slope * logit + np.asarray(self.offsets)[task])

    def logit(self, probability: Float[Array, " n"], task: Int[Array, " n"]) -> Float[Array, " n"]:
        """Recover the judge's logit from a probability given by this calibration."""
        shown = special.logit(probability.clip(LEAST, 1 - LEAST))
        return (shown - np.asarray(self.offsets)[task]) / self.slope


def calibrate(
    logit: Float[Array, " n"],
    task: Int[Array, " n"],
    success: Bool[Array, " n"],
    *,
    tasks: int,
    cells: Int[Array, " n"] | None = None,
    prior: float = 0.5,
) -> Calibration:
    """Fit by maximum likelihood (Platt, 1999), with a Gaussian prior on offsets around their mean.

    With `cells` (the policy and task of each episode), the likelihood is that of each cell's number
    of successes at its mean probability: rates should be right, not single episodes. Probabilities
    that are right episode by episode pull the rates of good and bad policies together, because
    whatever a judge cannot see in an episode it fills in from the average policy.

    `prior` is the precision of the prior. It matters for tasks with few labels or only one outcome.
    """
    own = np.arange(len(logit)) if cells is None else np.unique(cells, return_inverse=True)[1]
    count = np.bincount(own)
    hits = np.bincount(own, weights=success)

    def cost(parameters: Array) -> float:
        slope, offsets = np.exp(parameters[0]), parameters[1:]
        shifted = slope * logit + offsets[task]
        if cells is None:
            likelihood = log_expit(np.where(success, 1.0, -1.0) * shifted).sum()
        else:
            rate = (np.bincount(own, weights=expit(shifted)) / count).clip(LEAST, 1 - LEAST)
            likelihood = (hits * np.log(rate) + (count - hits) * np.log1p(-rate)).sum()
        return -likelihood + prior * np.square(offsets - offsets.mean()).sum() / 2

    best = minimize(cost, np.zeros(1 + tasks), method="L-BFGS-B")
    slope, offsets = float(np.exp(best.x[0])), best.x[1:]
    return Calibration(slope=slope, offsets=tuple(float(offset) for offset in offsets))


def recalibrate(
    before: Calibration,
    probability: Float[Array, " n"],
    task: Int[Array, " n"],
    policy: Int[Array, " n"],
    success: Bool[Array, " n"],
) -> Calibration:
    """Correct `before` using policies that were both imagined in closed loop and really executed.

    Args:
        probability: what `before` gave for the imagined episodes.
        task, policy: of each episode.
        success: the real outcome from the same start.
    """
    tasks = len(before.offsets)
    cells = policy * tasks + task
    return calibrate(before.logit(probability, task), task, success, tasks=tasks, cells=cells)
