"""Statistics for any predictions and trials: `validate` and `plan`."""

from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.runs.tables import read_outcomes
from worldeval.stats.outcomes import Outcomes, from_frame
from worldeval.stats.plan import Plan
from worldeval.stats.plan import plan as trials
from worldeval.stats.validation import Validation
from worldeval.stats.validation import validate as compare

TableArgument = str | Path | pd.DataFrame


def validate(
    predicted: TableArgument,
    real: TableArgument,
    *,
    margin: float = 0.05,
    level: float = 0.95,
    out: str | Path | None = None,
    seed: int = 0,
) -> Validation:
    """Compare predicted with measured outcomes: agreement, its noise ceiling, and caveats.

    No world model is needed; any two tables of the same policies and tasks work.

    Args:
        predicted: CSV or data frame with columns policy, task, start and score (0-1) or success
            (0/1); lineage, step and seed are optional.
        real: the same for the measured outcomes, with success.
        margin: measured difference above which a pair of policies must be ordered correctly.
        level: coverage of every interval.
        out: folder for agreement.json and agreement.png. Default: nothing is written.
        seed: random seed of the resampling.

    Returns:
        Agreement, both rankings, and findings; `.headline` is to be read first.

    Raises:
        UserError: a table is invalid (the message names the line), or has fewer than 3 policies.

    >>> import worldeval as we
    >>> import pandas as pd
    >>> rows = [(p, "open", s, int(s < 2 * p)) for p in (1, 2, 3, 4) for s in range(10)]
    >>> table = pd.DataFrame(rows, columns=["policy", "task", "start", "success"])
    >>> we.validate(table, table).agreement.pearson.value
    1.0
    """
    if not 0 < level < 1:
        raise UserError(f"--level is {level}; it must be between 0 and 1.")
    if not 0 <= margin < 1:
        raise UserError(f"--margin is {margin}; it must be at least 0 and below 1.")
    sides = _outcomes(predicted, "predicted"), _outcomes(real, "real")
    found = compare(*sides, rng=np.random.default_rng(seed), margin=margin, level=level)
    if out is not None:
        from worldeval.stats.figure import draw  # matplotlib takes a second to import

        write_json(Path(out) / "agreement.json", found.to_json())
        draw(found, Path(out) / "agreement.png")
    return found


def plan(
    policies: int,
    gap: float,
    *,
    power: float = 0.8,
    rate: float = 0.5,
    rho: float | None = None,
    cost_ratio: float = 100.0,
    level: float = 0.95,
    test: str = "betting",
) -> Plan:
    """Compute how many real and imagined trials a comparison needs.

    Args:
        policies: number of policies to compare.
        gap: smallest difference in success rate that matters.
        power: probability of detecting it.
        rate: success rate of the worse policy.
        rho: correlation of real and imagined outcomes from the same start, if known.
        cost_ratio: cost of a real trial relative to an imagined one.
        level: 1 - the probability of finding a difference where there is none.
        test: test that will be applied: `betting`, or `mcnemar`, which may be read only once.

    Returns:
        The numbers of trials, and one sentence of advice.

    Raises:
        UserError: a number is out of range.

    >>> import worldeval as we
    >>> we.plan(policies=2, gap=0.2).real_alone
    161
    """
    return trials(
        policies=policies,
        gap=gap,
        power=power,
        level=level,
        rate=rate,
        rho=rho,
        cost_ratio=cost_ratio,
        test=test,
    )


def _outcomes(table: TableArgument, name: str) -> Outcomes:
    if isinstance(table, pd.DataFrame):
        return from_frame(table, source=f"the {name} table")
    return read_outcomes(Path(table))
