# pandas types a cell as anything that a table can hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
"""Policies with both predicted and measured success, stored in the judge's passport.

Intervals of true rates are fitted to them (`worldeval/stats/predictive.py`). Judges that were
corrected by earlier versions have a file `validated.json` instead, which holds the rates alone and
is still read.
"""

from pathlib import Path

import pandas as pd

from worldeval.config import build
from worldeval.files import read_json
from worldeval.runs.passport import find_passport
from worldeval.stats import ValidatedRate, ValidatedRates

OLD_FILE = "validated.json"


def read_known(judge: Path) -> ValidatedRates | None:
    """Read the validated rates in a judge's folder; None if there are none.

    Raises:
        UserError: the file is damaged or of another kind.
    """
    passport = find_passport(judge)
    return passport.rates if passport is not None else read_old_rates(judge)


def read_old_rates(judge: Path) -> ValidatedRates | None:
    """Read the rates that an earlier version stored without a passport; None if there are none."""
    path = judge / OLD_FILE
    if not path.is_file():
        return None
    return build(ValidatedRates, read_json(path), where=str(path))


def rates_of(pairs: pd.DataFrame, predicted: str = "score") -> tuple[ValidatedRate, ...]:
    """Compute each policy's mean imagined probability and mean true success over tasks.

    Args:
        pairs: one row per policy and start that was both imagined and tried: policy, lineage,
            task, `predicted` (a probability) and success (0 or 1).
    """
    out = []
    for policy, rows in pairs.groupby("policy", sort=True):
        cells = rows.groupby("task")[[predicted, "success"]].mean().mean()
        out.append(
            ValidatedRate(
                policy=str(policy),
                lineage=str(rows["lineage"].iloc[0]),
                predicted=float(cells[predicted]),
                successes=float(cells["success"]) * len(rows),
                trials=len(rows),
            )
        )
    return tuple(out)


def cells_of(pairs: pd.DataFrame, predicted: str = "score") -> tuple[ValidatedRate, ...]:
    """Compute the same for each policy on each task."""
    return tuple(
        ValidatedRate(
            policy=str(policy),
            lineage=str(rows["lineage"].iloc[0]),
            predicted=float(rows[predicted].mean()),
            successes=float(rows["success"].sum()),
            trials=len(rows),
            task=str(task),
        )
        for (policy, task), rows in pairs.groupby(["policy", "task"], sort=True)
    )


def over_tasks(cells: ValidatedRates, tasks: frozenset[str]) -> ValidatedRates | None:
    """Compute means over some tasks; None unless every policy was tried on all of them."""
    by_policy: dict[str, list[ValidatedRate]] = {}
    for cell in cells.rates:
        if cell.task in tasks:
            by_policy.setdefault(cell.policy, []).append(cell)
    if not by_policy or any(len(own) < len(tasks) for own in by_policy.values()):
        return None
    rates = []
    for policy, own in by_policy.items():
        trials = sum(cell.trials for cell in own)
        true = sum(cell.successes / cell.trials for cell in own) / len(own)
        rates.append(
            ValidatedRate(
                policy=policy,
                lineage=own[0].lineage,
                predicted=sum(cell.predicted for cell in own) / len(own),
                successes=true * trials,
                trials=trials,
            )
        )
    return ValidatedRates(rates=tuple(rates), corrected=cells.corrected)
