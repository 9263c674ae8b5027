"""Tables of outcomes for the tests of this folder."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from worldeval.stats import Outcomes, from_frame

COLUMNS = ("policy", "task", "start", "seed")


def outcomes(
    value: Callable[[int, int, int], float],
    *,
    policies: int = 6,
    tasks: int = 2,
    starts: int = 20,
    kind: str = "success",
    seeds: Sequence[int] = (0,),
) -> Outcomes:
    """value(policy, task, start), the same for every seed."""
    rows = [
        (f"p{k}", f"t{t}", f"s{c}", seed, value(k, t, c), f"run{k // 3}")
        for k in range(policies)
        for t in range(tasks)
        for c in range(starts)
        for seed in seeds
    ]
    return from_frame(pd.DataFrame(rows, columns=[*COLUMNS, kind, "lineage"]))


def bernoulli(rates: Sequence[float], rng: np.random.Generator, **layout: int) -> Outcomes:
    """Independent successes at a rate per policy."""
    return outcomes(lambda k, t, c: float(rng.random() < rates[k]), policies=len(rates), **layout)  # type: ignore[arg-type]
