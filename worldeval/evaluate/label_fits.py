"""Curves from a judge's probabilities to rates of success, fitted to few labels.

Four are compared by the log loss of policies that they were not fitted to. The prior of every one
is the simpler one before it, so that few labels change little:

- `none`: the probabilities as they are.
- `common`: one slope and one offset (Platt, 1999), around "no change".
- `by task`: a slope and an offset for each task with enough labels, around the common ones.
- `isotonic by task`: for these tasks, the common curve mixed with isotonic regression. With n
  labels, the weight of the latter is n / (n + 30).
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_expit, logit

from worldeval.axes import Array, Bool, Float, Int
from worldeval.judge.calibrate import LEAST
from worldeval.judge.correction import Correction, TaskCorrection
from worldeval.stats.calibration import fit_isotonic, log_loss

FEWEST = 10  # labels of a task, with both outcomes, for a curve of its own
NONE, COMMON, BY_TASK, ISOTONIC = "none", "common", "by task", "isotonic by task"
# Standard deviations of the priors of log slope and offset: around no change, and of a task around
# the common curve.
SPREAD, TASK_SPREAD = (1.0, 2.0), (0.5, 1.0)
SHRINK = 30  # labels at which isotonic regression and the common curve weigh the same


def fit_none(score: Float[Array, " n"], success: Bool[Array, " n"], task: Array) -> Correction:
    """Change nothing."""
    return Correction(labels=len(score))


def fit_common(score: Float[Array, " n"], success: Bool[Array, " n"], task: Array) -> Correction:
    """Fit one slope and offset by maximum posterior."""
    slope, offset = _platt(score, success, around=(0.0, 0.0), spread=SPREAD)
    return Correction(slope=slope, offset=offset, labels=len(score))


def fit_by_task(score: Float[Array, " n"], success: Bool[Array, " n"], task: Array) -> Correction:
    """Fit a slope and an offset to each task with enough labels, around the common ones."""
    common = fit_common(score, success, task)
    around = (float(np.log(common.slope)), common.offset)
    tasks = {}
    for name, own in _enough(success, task).items():
        slope, offset = _platt(score[own], success[own], around=around, spread=TASK_SPREAD)
        tasks[name] = TaskCorrection(slope=slope, offset=offset, labels=int(own.sum()))
    return _with(common, tasks)


def fit_isotonic_by_task(
    score: Float[Array, " n"], success: Bool[Array, " n"], task: Array
) -> Correction:
    """Mix isotonic regression of each task with enough labels into the common curve."""
    common = fit_common(score, success, task)
    tasks = {}
    for name, own in _enough(success, task).items():
        count, steps = int(own.sum()), fit_isotonic(score[own], success[own].astype(float))
        tasks[name] = TaskCorrection(
            slope=common.slope,
            offset=common.offset,
            labels=count,
            weight=count / (count + SHRINK),
            knots=tuple(float(knot) for knot in steps.knots),
            levels=tuple(float(level) for level in steps.levels),
        )
    return _with(common, tasks)


Fit = Callable[[Float[Array, " n"], Bool[Array, " n"], Array], Correction]
FITS: dict[str, Fit] = {
    NONE: fit_none,
    COMMON: fit_common,
    BY_TASK: fit_by_task,
    ISOTONIC: fit_isotonic_by_task,
}


def left_out_losses(
    score: Float[Array, " n"], success: Bool[Array, " n"], task: Array, policy: Int[Array, " n"]
) -> dict[str, float]:
    """Return each curve's log loss on every policy, fitted to the labels of the others.

    Empty if only one policy has labels.
    """
    if len(np.unique(policy)) < 2:
        return {}
    losses = {}
    for name, fit in FITS.items():
        after = score.copy()
        for one in np.unique(policy):
            own = policy == one
            curve = fit(score[~own], success[~own], task[~own])
            after[own] = corrected(curve, score[own], task[own])
        losses[name] = log_loss(after, success.astype(float))
    return losses


def corrected(curve: Correction, score: Float[Array, " n"], task: Array) -> Float[Array, " n"]:
    """Apply a correction to episodes of several tasks."""
    after = np.array(score, float)
    for name in np.unique(task):
        own = task == name
        after[own] = curve(score[own], str(name))
    return after


def _enough(success: Bool[Array, " n"], task: Array) -> Mapping[str, Bool[Array, " n"]]:
    """Return the episodes of each task that has enough labels, with both outcomes."""
    found = {str(name): task == name for name in np.unique(task)}
    if len(found) == 1:  # it is the common one
        return {}
    return {
        name: own
        for name, own in found.items()
        if own.sum() >= FEWEST and 0 < success[own].mean() < 1
    }


def _platt(
    score: Float[Array, " n"],
    success: Bool[Array, " n"],
    *,
    around: tuple[float, float],
    spread: tuple[float, float],
) -> tuple[float, float]:
    """Fit slope and offset by maximum posterior, with normal priors on log slope and offset."""
    shown = logit(score.clip(LEAST, 1 - LEAST))
    sign = np.where(success, 1.0, -1.0)

    def cost(parameters: Array) -> float:
        slope, offset = np.exp(parameters[0]), parameters[1]
        prior = sum(((p - m) / s) ** 2 for p, m, s in zip(parameters, around, spread, strict=True))
        return float(-log_expit(sign * (slope * shown + offset)).sum() + prior / 2)

    best = minimize(cost, np.array(around), method="L-BFGS-B").x
    return float(np.exp(best[0])), float(best[1])


def _with(common: Correction, tasks: Mapping[str, TaskCorrection]) -> Correction:
    return Correction(
        slope=common.slope, offset=common.offset, labels=common.labels, tasks=dict(tasks)
    )
