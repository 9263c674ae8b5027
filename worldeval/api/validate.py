"""The statistics alone, on anybody's numbers: `validate` and `plan`."""

from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.errors import UserError
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
    seed: int = 0,
) -> Validation:
    """Compare predicted with real outcomes: agreement, its noise ceiling, and what it cannot say.

    Needs no world model: any two tables of the same policies and tasks will do.

    Args:
        predicted: CSV or data frame with columns policy, task, start and score (0-1) or success
            (0/1); lineage, step and seed may be there too.
        real: the same, with success.
        margin: real gap above which a pair of policies must be ordered correctly.
        level: coverage of every interval.
        seed: of the resampling.

    Returns:
        Agreement, both rankings, and findings; `.headline` stands above everything else.

    Raises:
        UserError: a table is wrong (the text names the line), or there are fewer than 3 policies.

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
    return compare(*sides, rng=np.random.default_rng(seed), margin=margin, level=level)


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
    """Say how many real and imagined trials a comparison needs, before they are made.

    Args:
        policies: how many are compared.
        gap: smallest difference in success rate that matters.
        power: chance of finding it.
        rate: success rate of the worse policy.
        rho: correlation of real and imagined outcomes from the same start, where it is known.
        cost_ratio: cost of a real trial over that of an imagined one.
        level: 1 - the chance of finding a difference where there is none.
        test: that is going to be applied: `betting`, or `mcnemar`, which may be read once.

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
