# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Policies that were both imagined and tried, kept beside the judge that they were judged by.

`validated.json` in a judge's folder is what intervals of true rates are fitted to
(`worldeval/stats/predictive.py`). It is no part of the judge's fingerprint: verdicts do not depend
on it.
"""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from worldeval.config import build
from worldeval.run import read_json, write_json
from worldeval.stats import ValidatedRate, ValidatedRates

FILE = "validated.json"


def read_known(judge: Path) -> ValidatedRates | None:
    """What the folder of a judge holds; None where nothing was kept.

    Raises:
        UserError: the file is damaged or another one.
    """
    path = judge / FILE
    if not path.is_file():
        return None
    return build(ValidatedRates, read_json(path), where=str(path))


def write_known(judge: Path, known: ValidatedRates) -> None:
    """Keep `known` in the folder of a judge."""
    write_json(judge / FILE, asdict(known))


def rates_of(pairs: pd.DataFrame, predicted: str = "score") -> tuple[ValidatedRate, ...]:
    """A rate for each policy: the mean over tasks of imagined probability and of true success.

    Args:
        pairs: one row for each policy and start that was imagined and tried: policy, lineage,
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
