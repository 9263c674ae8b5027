"""The rows of a report's tables: policies from best to worst, and tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldeval.runs.summary import RankingSummary
from worldeval.stats import Estimate, Outcomes
from worldeval.stats.measures import spearman
from worldeval.stats.ranking import policy_estimate
from worldeval.stats.units import Units, units


@dataclass(frozen=True, kw_only=True)
class PolicyRow:
    """One policy."""

    rank: int
    policy: str
    lineage: str | None
    step: float | None
    predicted: Estimate
    letters: str  # two policies share one exactly when they are statistically tied
    probability_best: float | None
    truth: Estimate | None  # None: not measured
    validation_mse: float | None = None  # of the predicted actions, on held-out demonstrations


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The rates of one policy on one task."""

    policy: str
    predicted: Estimate
    truth: Estimate | None


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """The cells of one task, best policy first, and how well they agree with the measurement."""

    task: str
    starts: int | None
    cells: tuple[Cell, ...]
    predicted: float | None  # mean over policies
    truth: float | None
    spearman: float | None  # over policies
    error: float | None  # mean |predicted - measured| over policies
    bias: float | None  # mean predicted - measured: positive is optimism


def ranked_rows(
    ranking: RankingSummary | None, truth: Outcomes | None, errors: Mapping[str, float]
) -> tuple[PolicyRow, ...]:
    """Build the rows of a ranking, with the measured rates where they are known.

    `errors` maps policies to their validation error, where it is known.
    """
    real = _real(truth)
    return tuple(
        PolicyRow(
            rank=place if row.rank is None else row.rank,
            policy=row.policy,
            lineage=row.lineage,
            step=row.step,
            predicted=row.predictive or row.estimate,
            letters=row.letters,
            probability_best=row.probability_best,
            truth=real.get((row.policy, None)),
            validation_mse=errors.get(row.policy),
        )
        for place, row in enumerate(ranking.policies if ranking else (), start=1)
    )


def task_rows(
    ranking: RankingSummary | None, imagined: Outcomes | None, truth: Outcomes | None
) -> tuple[TaskRow, ...]:
    """Build one row per task from the cells of the ranking."""
    if ranking is None:
        return ()
    order = {row.policy: place for place, row in enumerate(ranking.policies)}
    real = _real(truth)
    by_task: dict[str, list[Cell]] = {}
    for item in ranking.cells:
        cell = Cell(
            policy=item.policy,
            predicted=item.estimate,
            truth=real.get((item.policy, item.task)),
        )
        by_task.setdefault(item.task, []).append(cell)
    starts = _starts(imagined)
    return tuple(
        _task(task, sorted(cells, key=lambda cell: order.get(cell.policy, 0)), starts.get(task))
        for task, cells in by_task.items()
    )


def worst_cells(tasks: Sequence[TaskRow]) -> dict[str, tuple[str, Cell]]:
    """Return the task on which each policy is predicted to succeed least; none of a single task."""
    worst: dict[str, tuple[str, Cell]] = {}
    for task in tasks if len(tasks) > 1 else ():
        for cell in task.cells:
            value = cell.predicted.value
            least = worst[cell.policy][1].predicted.value if cell.policy in worst else None
            if value is not None and (least is None or value < least):
                worst[cell.policy] = (task.task, cell)
    return worst


def _task(task: str, cells: list[Cell], starts: int | None) -> TaskRow:
    predicted = np.array([cell.predicted.value for cell in cells], float)
    real = np.array([cell.truth.value if cell.truth else None for cell in cells], float)
    both = ~np.isnan(predicted) & ~np.isnan(real)
    s, r = predicted[both], real[both]
    rho = float(spearman(s, r)) if len(s) > 2 else np.nan
    return TaskRow(
        task=task,
        starts=starts,
        cells=tuple(cells),
        predicted=_mean(predicted[~np.isnan(predicted)]),
        truth=_mean(r),
        spearman=None if np.isnan(rho) else rho,
        error=_mean(np.abs(s - r)),
        bias=_mean(s - r),
    )


def _real(truth: Outcomes | None) -> dict[tuple[str, str | None], Estimate]:
    """Compute the measured rate per policy, over all tasks (None) and on each task."""
    if truth is None:
        return {}
    # In a run under way, some policies are measured on some tasks only; show what there is.
    rates: dict[tuple[str, str | None], Estimate] = {}
    tried = {(int(p), int(t)) for p, t in zip(truth.policy, truth.task, strict=True)}
    for k, policy in enumerate(truth.policies):
        tasks = [task for t, task in enumerate(truth.tasks) if (k, t) in tried]
        own: Units = units(truth.only(policies=[policy], tasks=tasks))
        if len(tasks) == len(truth.tasks):  # rates over different tasks are not comparable
            rates[policy, None] = policy_estimate(own, 0)
        for t, task in enumerate(tasks):
            rates[policy, task] = policy_estimate(own, 0, task=t)
    return rates


def _starts(outcomes: Outcomes | None) -> dict[str, int]:
    if outcomes is None:
        return {}
    seen = {(int(task), start) for task, start in zip(outcomes.task, outcomes.start, strict=True)}
    return {
        name: sum(task == place for task, _ in seen) for place, name in enumerate(outcomes.tasks)
    }


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None
