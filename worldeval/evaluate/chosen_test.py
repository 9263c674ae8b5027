"""The test that compares the policies of a run, chosen before looking at results.

McNemar's test is exact if it is read once, after a fixed number of starts. Choosing another test or
more starts after looking would give every pair several chances to be separated.
"""

from pathlib import Path

import pandas as pd

from worldeval.errors import UserError
from worldeval.evaluate.budget import Spending
from worldeval.runs.summary import find_summary
from worldeval.stats import compare_all, from_frame
from worldeval.stats.plan import known_test
from worldeval.stats.units import units

ONCE = "mcnemar"


def check_test(test: str, *, run: Path, starts: int, policies: int, spending: Spending) -> None:
    """Refuse a test that may not be applied in a run folder, before any work is done.

    Args:
        starts: in all, of this command.
        policies: of this command.

    Raises:
        UserError: the test is unknown, outcomes decide how many roll-outs there are, or the run was
            already summarised with another test, other starts or other policies.
    """
    known_test(test)
    if test == ONCE and (spending.by_turns):
        raise UserError(
            "--test mcnemar is exact only for a number of starts that is fixed beforehand. Omit "
            "--budget-..., --allocate and --stop-when-separated, or omit --test: the betting test "
            "may be read at any time."
        )
    seen = find_summary(run)
    if seen is None or seen.ranking is None:
        return
    before = seen.ranking.test
    if before != test:
        raise UserError(
            f"{run} was already summarised with --test {before}, now {test}. A test must be chosen "
            f"before looking: give --test {before}, or another --out with new starts."
        )
    counts = {row.n for row in seen.ranking.policies}
    if test == ONCE and (counts != {starts} or len(seen.ranking.policies) != policies):
        raise UserError(
            f"{run} was already summarised with --test mcnemar, which may be read only once, so it "
            "cannot be extended by starts or policies. Give another --out."
        )


def check_trials(test: str, trials: pd.DataFrame) -> None:
    """Refuse real trials that the test cannot compare.

    Raises:
        UserError: starts were tried several times, or tasks have unequal numbers of them.
    """
    if test == ONCE:
        compare_all(units(from_frame(trials, source="real trials")), test=test)
