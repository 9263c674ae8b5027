"""Correct the probabilities of a judge of frames, with one curve for all tasks or one for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, logit

from worldeval.axes import Array, Float
from worldeval.judge.calibrate import LEAST


@dataclass(frozen=True, kw_only=True)
class TaskCorrection:
    """(1 - weight) * sigmoid(slope * logit(p) + offset) + weight * steps(p) for one task.

    `steps` is a non-decreasing function, linear between its knots (isotonic regression).
    """

    slope: float = 1.0
    offset: float = 0.0
    labels: int = 0  # that it was fitted to
    weight: float = 0.0
    knots: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not np.isfinite([self.slope, self.offset]).all():
            raise ValueError(f"slope {self.slope} and offset {self.offset} must be finite")
        if not 0 <= self.weight <= 1 or (self.weight > 0 and not self.knots):
            raise ValueError(f"weight {self.weight} must be 0 to 1, and 0 without knots")
        ordered = all((np.diff(each) >= 0).all() for each in (self.knots, self.levels))
        inside = all(0 <= each <= 1 for each in (*self.knots, *self.levels))
        if len(self.knots) != len(self.levels) or not ordered or not inside:
            raise ValueError("knots and levels must be equally many, from 0 to 1 and not falling")

    def __call__(self, probability: Float[Array, "..."]) -> Float[Array, "..."]:
        if (self.slope, self.offset, self.weight) == (1.0, 0.0, 0.0):
            return probability
        shown = logit(np.clip(probability, LEAST, 1 - LEAST))
        smooth = np.asarray(expit(self.slope * shown + self.offset))
        if not self.weight:
            return smooth
        # NaN (no verdict) stays NaN in both.
        stepped = np.interp(probability, self.knots, self.levels)
        return np.asarray((1 - self.weight) * smooth + self.weight * stepped)


@dataclass(frozen=True, kw_only=True)
class Correction:
    """P(success) = sigmoid(slope * logit(p) + offset), and a curve of its own for some tasks."""

    slope: float = 1.0
    offset: float = 0.0
    labels: int = 0  # that it was fitted to
    tasks: Mapping[str, TaskCorrection] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.common  # noqa: B018  # refuses values that are not finite

    @property
    def common(self) -> TaskCorrection:
        """The curve of every task that has none of its own."""
        return TaskCorrection(slope=self.slope, offset=self.offset, labels=self.labels)

    def __call__(self, probability: Float[Array, "..."], task: str) -> Float[Array, "..."]:
        return self.tasks.get(task, self.common)(probability)
