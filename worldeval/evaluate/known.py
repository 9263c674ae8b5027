# pandas types a cell as anything that a table can hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Policies with both predicted and measured success, stored with the judge that scored them.

Intervals of true rates are fitted to `validated.json` in a judge's folder
(`worldeval/stats/predictive.py`). The file is not part of the judge's fingerprint, because
verdicts do not depend on it.
"""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from worldeval.config import build
from worldeval.files import read_json, write_json
from worldeval.stats import ValidatedRate, ValidatedRates

FILE = "validated.json"


def read_known(judge: Path) -> ValidatedRates | None:
    """Read the validated rates in a judge's folder; None if there are none.

    Raises:
        UserError: the file is damaged or of another kind.
    """
    path = judge / FILE
    if not path.is_file():
        return None
    return build(ValidatedRates, read_json(path), where=str(path))


def write_known(judge: Path, known: ValidatedRates) -> None:
    """Write `known` to a judge's folder."""
    write_json(judge / FILE, asdict(known))


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
