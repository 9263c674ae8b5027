"""False-alarm rate of a novelty score, fixed on held-out cases (conformal p-values).

The p-value of a new case is (1 + the number of held-out cases that score at least as high) / (n +
1). If new and held-out cases are exchangeable and the score was fitted to neither, it is at most
alpha with probability at most alpha (Vovk et al. 2005; Bates et al. 2023 for outliers). It cannot
be smaller than 1 / (n + 1): a rate of 1% takes 99 held-out cases, one of 5% takes 19.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np

from worldeval.axes import Array, Float

RATE = 0.01  # false alarms per case
WORST = 0.05  # highest false-alarm rate at which cases are tested at all


def held_out_needed(rate: float) -> int:
    """Return the number of held-out cases that a false-alarm rate needs."""
    return ceil(1 / rate - 1e-9) - 1


def reachable_rate(held_out: int, *, rate: float = RATE, worst: float = WORST) -> float | None:
    """Return the false-alarm rate that so many held-out cases allow: `rate` if there are enough,
    else 1 / (n + 1); None if that exceeds `worst`."""
    least = 1 / (held_out + 1)
    if least > worst + 1e-9:
        return None
    return max(rate, least)


def conformal_p(
    scores: Sequence[float] | Float[Array, " n"],
    held_out: Sequence[float] | Float[Array, " m"],
) -> Float[Array, " n"]:
    """Compute the p-value of each score among the scores of held-out cases."""
    known = np.sort(np.asarray(held_out, float))
    as_high = len(known) - np.searchsorted(known, np.asarray(scores, float), side="left")
    return (1 + as_high) / (len(known) + 1)
