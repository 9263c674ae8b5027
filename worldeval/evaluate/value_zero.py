"""V0 of a run: what its policies' results say about trials that have not been run.

Results are measured ones, where at least three policies have some (the run's simulated or real
outcomes, and those of the schedule); otherwise imagined probabilities order the starts by
themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.axes import Array, Float
from worldeval.runs.paths import TRUTH, RunPaths
from worldeval.runs.tables import read_side
from worldeval.stats.value_zero import (
    LEAST,
    ValueCheck,
    ValueZero,
    check_value_zero,
    fit_value_zero,
    start_kernel,
)

CONTEXT = 10  # results that are shown in the check
CELLS = 8  # of a picture's height and width, whose mean colours describe a start
FEWEST = 40  # results with which V0 is fitted


@dataclass(frozen=True, kw_only=True)
class RunValues:
    """Predicted success of every policy of a run from each of its starts."""

    policies: tuple[str, ...]
    starts: tuple[tuple[str, str], ...]  # task, start
    predicted: Float[Array, "k s"]
    fitted: bool  # V0, and not imagination alone
    check: ValueCheck | None  # of policies left out; None: too few to check

    def of(self, policy: str, task: str, starts: Sequence[str]) -> Float[Array, " n"]:
        """Predicted success of a policy from starts of a task."""
        row, place = self.policies.index(policy), {key: i for i, key in enumerate(self.starts)}
        return self.predicted[row, [place[task, start] for start in starts]]


def run_values(
    run: Path,
    imagined: pd.DataFrame,
    measured: Sequence[pd.DataFrame],
    lineage: Mapping[str, str],
    *,
    seed: int,
) -> RunValues:
    """Fit V0 to the results of a run's policies, and predict all of their starts.

    Args:
        imagined: policy, task, start and score of every imagined episode.
        measured: tables of policy, task, start and success.
        lineage: policy -> training run; the check leaves out whole lineages.
    """
    policies = tuple(dict.fromkeys(imagined["policy"].astype(str)))
    pairs = zip(imagined["task"].astype(str), imagined["start"].astype(str), strict=True)
    starts = tuple(dict.fromkeys(pairs))
    scores = _matrix(imagined, "score", policies, starts)
    shown = [table for table in measured if len(table)]
    results = np.full_like(scores, np.nan)
    if shown:
        results = _matrix(pd.concat(shown), "success", policies, starts)
    filled = np.where(np.isnan(scores), np.nanmean(scores), scores)
    known = ~np.isnan(results)
    if int(known.sum()) < FEWEST or int(known.any(1).sum()) < LEAST:
        return RunValues(
            policies=policies, starts=starts, predicted=filled, fitted=False, check=None
        )
    tasks = list(dict.fromkeys(task for task, _ in starts))
    kernel = start_kernel(
        np.array([tasks.index(task) for task, _ in starts]), first_observations(run, starts)
    )
    rng = np.random.default_rng(seed)
    model = fit_value_zero(results, kernel, imagined=filled, rng=rng)
    predicted = np.stack([_predicted(model, results, filled, k) for k in range(len(policies))])
    groups = [lineage.get(name, name) for name in policies]
    check = None
    if len({groups[k] for k in np.flatnonzero(known.any(1))}) > LEAST:
        check = check_value_zero(
            results, kernel, imagined=filled, lineage=groups, context=CONTEXT, rng=rng
        )
    return RunValues(
        policies=policies, starts=starts, predicted=predicted, fitted=True, check=check
    )


def first_observations(run: Path, starts: Sequence[tuple[str, str]]) -> Float[Array, "s d"] | None:
    """Small pictures of all views and the pose of every start; None if the run has no starts."""
    from worldeval.evaluate.kept_starts import read_kept_starts  # loads torch

    if not RunPaths(run).starts.is_file():
        return None
    kept = {(start.task, start.id): start for start in read_kept_starts(run)}
    if any(key not in kept for key in starts):
        return None
    rows = []
    for key in starts:
        start = kept[key]
        pictures = [_small(start.frames[view]) for view in sorted(start.frames)]
        rows.append(np.concatenate([*pictures, np.asarray(start.pose, float)]))
    return np.stack(rows)


def measured_in(run: Path) -> list[pd.DataFrame]:
    """The run's simulated or real outcomes, if it has any."""
    if not RunPaths(run).outcomes(TRUTH).is_file():
        return []
    return [read_side(run, TRUTH, needed=("policy", "task", "start", "success"))]


def _predicted(
    model: ValueZero, results: Float[Array, "k s"], imagined: Float[Array, "k s"], k: int
) -> Float[Array, " s"]:
    return model.predict(results[k], np.delete(results, k, 0), imagined[k])


def _matrix(
    table: pd.DataFrame,
    column: str,
    policies: Sequence[str],
    starts: Sequence[tuple[str, str]],
) -> Float[Array, "k s"]:
    """Mean result of every policy from every start; NaN where there is none."""
    row = {name: i for i, name in enumerate(policies)}
    place = {key: i for i, key in enumerate(starts)}
    total, count = np.zeros((len(row), len(place))), np.zeros((len(row), len(place)))
    for policy, task, start, value in zip(
        table["policy"].astype(str), table["task"].astype(str), table["start"].astype(str),
        table[column].astype(float), strict=True,
    ):  # fmt: skip
        if policy in row and (task, start) in place and np.isfinite(value):
            total[row[policy], place[task, start]] += value
            count[row[policy], place[task, start]] += 1
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _small(picture: Array) -> Float[Array, " d"]:
    """Mean colours of equal parts of a picture."""
    x = np.asarray(picture, float) / 255
    rows = np.array_split(x, min(CELLS, len(x)), axis=0)
    cells = [
        part.mean((0, 1)) for row in rows for part in np.array_split(row, min(CELLS, x.shape[1]), 1)
    ]
    return np.concatenate(cells)
