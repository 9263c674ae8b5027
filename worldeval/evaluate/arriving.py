"""A new checkpoint, rolled out from the same starts as the best one so far, until it is judged."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from worldeval.axes import Array, Float
from worldeval.evaluate.budget import Spending, sequences
from worldeval.record import Start
from worldeval.runs.watched import WatchedCheckpoint
from worldeval.stats.arrivals import compare_arrival, pair_decided


def spending_for(
    number: int, *, level: float, minutes: float | None, rollouts: int | None
) -> Spending:
    """Return the budget of checkpoint `number`: it ends early when the pair is separated."""
    decided = partial(pair_decided, number=number, level=level) if number > 1 else None
    return Spending(minutes=minutes, rollouts=rollouts, decided=decided)


def judge_arrival(
    imagined: pd.DataFrame,
    card: Mapping[Any, Any],
    starts: Sequence[Start],
    *,
    best: str | None,
    number: int,
    level: float,
) -> WatchedCheckpoint:
    """Compare a checkpoint with the `best` one so far.

    Args:
        imagined: a row per episode of both, with its score. Missing episodes are left out.
        card: the checkpoint's policy (its name), ref, lineage and step.
        starts: from which both were run, in order.
        best: name of the best one; None for the first checkpoint.
        number: which checkpoint this is, counted from 1.
        level: probability that all verdicts of the training are right.
    """
    name = str(card["policy"])
    new = scores_by_round(imagined, starts, name)
    (success,) = sequences([new], level=level)
    about = {
        "number": number,
        "policy": name,
        "ref": str(card["ref"]),
        "lineage": str(card["lineage"]),
        "step": int(card["step"]),
        "success": success,
    }
    if best is None:
        return WatchedCheckpoint(**about, verdict="first", against=None, best=name)
    old = scores_by_round(imagined, starts, best)
    found = compare_arrival(new, old, number=number, level=level)
    return WatchedCheckpoint(
        **about,
        verdict=found.verdict,
        against=best,
        difference=found.difference,
        p=found.p,
        allowed=found.allowed,
        best=name if found.verdict == "better" else best,
    )


def scores_by_round(
    table: pd.DataFrame, starts: Sequence[Start], policy: str
) -> Float[Array, "n t"]:
    """Arrange a policy's scores in rounds of one start per task, in the order of `starts`."""
    own = table[table["policy"] == policy]
    score = dict(zip(own["start"], own["score"], strict=True))
    tasks = dict.fromkeys(start.task for start in starts)
    queues = [[start.id for start in starts if start.task == task] for task in tasks]
    rounds = np.full((max(map(len, queues)), len(queues)), np.nan)
    for t, queue in enumerate(queues):
        for r, start in enumerate(queue):
            rounds[r, t] = score.get(start, np.nan)
    return rounds
