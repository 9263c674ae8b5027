"""Calibration of probabilities: temperature scaling for few labels, isotonic for many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import scipy

from worldeval.axes import Array, Float
from worldeval.errors import UserError

MANY = 1000  # labels above which isotonic regression is worth its higher variance
EDGE = 1e-6  # probabilities are kept this far from 0 and 1


@runtime_checkable
class Map(Protocol):
    """A function from a judge's probabilities to calibrated ones."""

    def __call__(self, probability: Float[Array, " n"], /) -> Float[Array, " n"]: ...


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """sigmoid(logit(p) / temperature), which changes confidence but keeps the order and p = 1/2."""

    temperature: float

    def __call__(self, probability: Float[Array, " n"], /) -> Float[Array, " n"]:
        return scipy.special.expit(_logit(probability) / self.temperature)


@dataclass(frozen=True, kw_only=True)
class Isotonic:
    """A non-decreasing function, linear between its knots."""

    knots: Float[Array, " k"]
    levels: Float[Array, " k"]

    def __call__(self, probability: Float[Array, " n"], /) -> Float[Array, " n"]:
        return np.interp(probability, self.knots, self.levels)


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Cross-fitted probabilities and the effect of calibration; `map` is fitted on all labels."""

    probability: Float[Array, " n"]  # each from a map fitted without clips of its group
    map: Map
    method: str  # 'temperature' or 'isotonic'
    log_loss: tuple[float, float]  # before, after
    brier: tuple[float, float]
    expected_error: tuple[float, float]  # mean |confidence - frequency| over ten equal bins


def fit_temperature(probability: Float[Array, " n"], truth: Float[Array, " n"]) -> Temperature:
    """Fit the temperature that minimises the log loss, between 1/20 and 20."""
    logit = _logit(probability)

    def loss(log_temperature: float) -> float:
        return log_loss(scipy.special.expit(logit / np.exp(log_temperature)), truth)

    best = scipy.optimize.minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded")
    return Temperature(temperature=float(np.exp(best.x)))


def fit_isotonic(probability: Float[Array, " n"], truth: Float[Array, " n"]) -> Isotonic:
    """Fit isotonic regression by pool-adjacent-violators; equal probabilities are one point."""
    knots, place, count = np.unique(probability, return_inverse=True, return_counts=True)
    mean = np.bincount(place, weights=truth) / count
    fitted = scipy.optimize.isotonic_regression(mean, weights=count.astype(float))
    return Isotonic(knots=knots, levels=np.clip(fitted.x, 0.0, 1.0))


FITS = {"temperature": fit_temperature, "isotonic": fit_isotonic}


def calibrate(
    probability: Float[Array, " n"],
    truth: Float[Array, " n"],
    groups: Sequence[str],
    *,
    rng: np.random.Generator,
    method: str | None = None,
    folds: int = 5,
) -> Calibrated:
    """Cross-fit a calibration map.

    Args:
        groups: group of each clip (its start, or its policy family); no group is in both the
            training and the test part of a fold.
        method: 'temperature' or 'isotonic'; by default isotonic from 1,000 labels on.

    Raises:
        UserError: there is a single group, or all labels are the same.
    """
    truth = np.asarray(truth, dtype=float)
    if not 0 < truth.mean() < 1:
        raise UserError(
            f"All {len(truth)} labels are the same; calibration needs both successes and failures. "
            "Label clips of both kinds."
        )
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise UserError(
            f"All labels are in one group ('{names[0]}'), so they cannot be split into folds. "
            "Label clips of at least two groups."
        )
    method = method or ("isotonic" if len(truth) >= MANY else "temperature")
    fit = FITS[method]
    fold = rng.permutation(len(names))[group] % min(folds, len(names))
    crossed = np.empty(len(truth))
    for held in np.unique(fold):
        out = fold == held
        crossed[out] = fit(probability[~out], truth[~out])(probability[out])
    return Calibrated(
        probability=crossed,
        map=fit(probability, truth),
        method=method,
        log_loss=(log_loss(probability, truth), log_loss(crossed, truth)),
        brier=(brier(probability, truth), brier(crossed, truth)),
        expected_error=(expected_error(probability, truth), expected_error(crossed, truth)),
    )


def log_loss(probability: Float[Array, " n"], truth: Float[Array, " n"]) -> float:
    """Compute the mean negative log likelihood."""
    p = np.clip(probability, EDGE, 1 - EDGE)
    return float(-np.mean(truth * np.log(p) + (1 - truth) * np.log1p(-p)))


def brier(probability: Float[Array, " n"], truth: Float[Array, " n"]) -> float:
    """Compute the mean squared error of the probabilities."""
    return float(np.mean((probability - truth) ** 2))


def expected_error(
    probability: Float[Array, " n"], truth: Float[Array, " n"], *, bins: int = 10
) -> float:
    """Compute the mean |confidence - frequency| over bins of equal width, weighted by count."""
    which = np.minimum((probability * bins).astype(int), bins - 1)
    gap = np.bincount(which, weights=probability - truth, minlength=bins)
    return float(np.abs(gap).sum() / len(truth))


def _logit(probability: Float[Array, " n"]) -> Float[Array, " n"]:
    return scipy.special.logit(np.clip(probability, EDGE, 1 - EDGE))
