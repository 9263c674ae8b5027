"""Sampling units of the statistics: the mean outcome of each policy from each start.

Episodes that share an initial state form one cluster. Averaging them first makes the start the unit
of all intervals and tests, so that copying an episode ten times does not narrow any interval.
"""

from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Float, Int
from worldeval.errors import UserError
from worldeval.stats.outcomes import Outcomes


@dataclass(frozen=True, kw_only=True)
class Units:
    """Mean outcome per policy, task and start; NaN if the policy was not run from that start."""

    policies: tuple[str, ...]
    tasks: tuple[str, ...]
    starts: tuple[tuple[str, ...], ...]  # per task; starts[t][c] names column c of task t
    mean: Float[Array, "k t c"]
    trials: Int[Array, "k t c"]  # episodes behind each mean
    binary: bool  # the episodes are 0/1

    @property
    def cells(self) -> Float[Array, "k t"]:
        """Return the rate per policy and task: the mean over its starts."""
        filled = np.nansum(self.mean, axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            return filled / self.count

    @property
    def count(self) -> Int[Array, "k t"]:
        """Return the number of starts per policy and task."""
        return (~np.isnan(self.mean)).sum(axis=2)

    @property
    def rates(self) -> Float[Array, " k"]:
        """Return the rate per policy: the mean over tasks with equal weight."""
        return self.cells.mean(axis=1)

    def weights(self, k: int) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """Return the start means of policy k over all tasks, and their weights in its rate."""
        present = ~np.isnan(self.mean[k])
        weight = present / np.maximum(present.sum(axis=1, keepdims=True), 1) / len(self.tasks)
        return self.mean[k][present], weight[present]


def units(outcomes: Outcomes, *, like: Units | None = None, also: Outcomes | None = None) -> Units:
    """Average the trials of each start.

    Args:
        outcomes: the trials; every policy must have been run on every task.
        like: units whose layout (policies, tasks, columns of starts) is used.
        also: outcomes whose starts also get columns, so that both can share a layout.

    Raises:
        UserError: a policy has no trial on some task; rates over different tasks do not compare.
    """
    if like is None:
        starts = _starts(outcomes, also)
        policies, tasks = outcomes.policies, outcomes.tasks
    else:
        starts, policies, tasks = like.starts, like.policies, like.tasks
        outcomes = outcomes.only(policies=policies, tasks=tasks)
    column = [{start: c for c, start in enumerate(names)} for names in starts]
    place = np.array([column[t][s] for t, s in zip(outcomes.task, outcomes.start, strict=True)])
    shape = (len(policies), len(tasks), max(len(names) for names in starts))
    total, trials = np.zeros(shape), np.zeros(shape, dtype=int)
    np.add.at(total, (outcomes.policy, outcomes.task, place), outcomes.value)
    np.add.at(trials, (outcomes.policy, outcomes.task, place), 1)
    with np.errstate(invalid="ignore"):
        mean = np.where(trials > 0, total / trials, np.nan)
    empty = np.argwhere(trials.sum(axis=2) == 0)
    if len(empty):
        k, t = empty[0]
        raise UserError(
            f"Policy '{policies[k]}' has no trial on task '{tasks[t]}', but other policies do. "
            "Run every policy on every task, or exclude the task."
        )
    return Units(
        policies=policies,
        tasks=tasks,
        starts=starts,
        mean=mean,
        trials=trials,
        binary=outcomes.binary,
    )


def aligned(predicted: Outcomes, real: Outcomes) -> tuple[Units, Units]:
    """Arrange both sides in one layout: the same policies, tasks and columns of starts.

    Raises:
        UserError: a policy or task is missing on one side.
    """
    for what, a, b in (
        ("policy", predicted.policies, real.policies),
        ("task", predicted.tasks, real.tasks),
    ):
        for here, there, side, other in (
            (a, b, "predicted", "real"),
            (b, a, "real", "predicted"),
        ):
            missing = [name for name in here if name not in there]
            if missing:
                raise UserError(
                    f"The {what} '{missing[0]}' is in the {side} outcomes but not in the {other} "
                    f"ones ({len(missing)} in total). Both sides must have the same {what} names: "
                    "remove it from one side, or add its rows to the other."
                )
    truth = units(real, also=predicted)
    return units(predicted, like=truth), truth


def _starts(outcomes: Outcomes, also: Outcomes | None) -> tuple[tuple[str, ...], ...]:
    """Names of the starts of each task, in order of first appearance."""
    found: list[dict[str, None]] = [{} for _ in outcomes.tasks]
    for table in (outcomes,) if also is None else (outcomes, also.only(tasks=outcomes.tasks)):
        for task, start in zip(table.task, table.start, strict=True):
            found[task].setdefault(start)
    return tuple(tuple(names) for names in found)
