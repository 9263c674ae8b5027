"""Correct a judge's rates with policies that were both imagined and measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.evaluate.validated import read_compared
from worldeval.judge.calibrate import Calibration, recalibrate
from worldeval.judge.learned import read_calibration
from worldeval.judge.load import judge_hash
from worldeval.runs.paths import IMAGINED, TRUTH
from worldeval.runs.tables import read_side
from worldeval.world.protocol import ANY_TASK

FEWEST = 3  # lineages: one must be left out, and two remain


@dataclass(frozen=True, kw_only=True)
class Recalibrated:
    """A corrected calibration, and its error on lineages that it was not fitted to."""

    calibration: Calibration
    learned_from: dict[str, Any]
    cell_error_before: float  # mean absolute error of a policy's rate on a task
    cell_error_after: float  # the same, with each lineage left out in turn
    pairs: pd.DataFrame  # the paired starts; `left_out` is the score with the lineage left out


def recalibrated(judge: Path, runs: Sequence[Path]) -> Recalibrated:
    """Fit a calibration to the paired starts of finished runs that used the judge in `judge`.

    Raises:
        UserError: a run was not measured or used another judge, or there are fewer than 3 lineages.
    """
    before, tasks = read_calibration(judge)
    table = pd.concat([_pairs(run, judge) for run in runs], ignore_index=True)
    lineages = sorted(set(table["lineage"]))
    if len(lineages) < FEWEST:
        raise UserError(
            f"{', '.join(map(str, runs))}: {len(lineages)} lineages ({', '.join(lineages)}) were "
            f"measured; at least {FEWEST} are needed, so that one can be held out."
        )
    after = np.zeros(len(table))
    for lineage in lineages:
        out = (table["lineage"] == lineage).to_numpy()
        fitted = _fit(before, table.loc[~out], tasks)
        after[out] = _applied(before, fitted, table.loc[out], tasks)
    return Recalibrated(
        calibration=_fit(before, table, tasks),
        learned_from={
            "runs": [str(run) for run in runs],
            "policies": len(set(table["policy"])),
            "lineages": lineages,
            "episodes": len(table),
        },
        cell_error_before=_cell_error(table, table["score"].to_numpy()),
        cell_error_after=_cell_error(table, after),
        pairs=table.assign(left_out=after),
    )


def _pairs(run: Path, judge: Path) -> pd.DataFrame:
    """Return one row for each policy and start that was both imagined and measured."""
    read_compared(run, judge=judge_hash(judge))
    key = ["policy", "task", "start"]
    real = read_side(run, TRUTH, needed=(*key, "success"))[[*key, "success"]]
    return read_side(run, IMAGINED, needed=(*key, "lineage", "score")).merge(real, on=key)


def _fit(before: Calibration, table: pd.DataFrame, tasks: tuple[str, ...]) -> Calibration:
    return recalibrate(
        before,
        table["score"].to_numpy(),
        _index(table, tasks),
        pd.factorize(table["policy"])[0],
        table["success"].to_numpy() == 1,
    )


def _applied(
    before: Calibration, fitted: Calibration, table: pd.DataFrame, tasks: tuple[str, ...]
) -> Float[Array, " n"]:
    task = _index(table, tasks)
    return fitted(before.logit(table["score"].to_numpy(), task), task)


def _index(table: pd.DataFrame, tasks: tuple[str, ...]) -> Array:
    if tasks == (ANY_TASK,):
        return np.zeros(len(table), np.int64)
    return np.array([tasks.index(task) for task in table["task"]])


def _cell_error(table: pd.DataFrame, probability: Float[Array, " n"]) -> float:
    cells = table.groupby(["policy", "task"]).ngroup().to_numpy()
    error = np.bincount(cells, weights=probability - table["success"].to_numpy())
    return float((np.abs(error) / np.bincount(cells)).mean())
