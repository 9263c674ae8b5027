# pandas types a cell as anything that a table may hold.
# pyright: reportAttributeAccessIssue=false
"""A ranking after adaptive spending: the same order, and intervals that allow for the looking."""

import numpy as np
import pandas as pd

from worldeval.evaluate.anytime import anytime, spent_finding
from worldeval.evaluate.budget import SpendingReport, sequences
from worldeval.stats import from_frame, rank


def test_intervals_widen_and_values_stay() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"policy": policy, "task": task, "start": f"{task}-{seed}", "seed": seed,
         "score": float(np.clip(rng.normal(mean, 0.2), 0, 1))}
        for policy, mean, count in (("a", 0.8, 20), ("b", 0.3, 8))
        for seed in range(count)
        for task in ("open", "close")
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    fixed = rank(from_frame(table), rng=rng)
    scores = [table[table["policy"] == p]["score"].to_numpy().reshape(-1, 2) for p in "ab"]
    estimates = dict(zip("ab", sequences(scores), strict=True))
    spent = SpendingReport(allocate="top-two", why="leader found", leader="a", estimates=estimates)
    found = anytime(fixed, table, spent)
    for before, after in zip(fixed.policies, found.policies, strict=True):
        assert (before.policy, before.letters) == (after.policy, after.letters)
        assert after.estimate.value == before.estimate.value
        assert "confidence sequence" in after.estimate.method
        assert _width(after.estimate) >= _width(before.estimate)
    (before,), (after,) = fixed.comparisons, found.comparisons
    assert after.difference.low is not None and after.difference.high is not None
    assert after.difference.value is not None
    assert after.difference.value == before.difference.value
    assert after.difference.method == "confidence sequence"
    assert after.difference.low <= after.difference.value <= after.difference.high
    assert set(found.cells) == set(fixed.cells)
    assert "top-two; leader found; a leads" in spent_finding(spent).text


def _width(estimate) -> float:
    assert estimate.width is not None
    return estimate.width
