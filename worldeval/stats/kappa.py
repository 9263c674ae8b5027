"""Cohen's kappa: how far two people agree beyond chance."""

import numpy as np

from worldeval.axes import Array
from worldeval.stats.estimate import Estimate, undefined
from worldeval.stats.rates import wilson

METHOD = "Cohen's kappa, Wilson"


def cohens_kappa(first: Array, second: Array, *, level: float = 0.95) -> Estimate:
    """Estimate Cohen's kappa of two people's labels of the same episodes.

    kappa = (p_o - p_e) / (1 - p_e), with p_o the observed share of equal labels and p_e the share
    expected from both persons' own rates (Cohen 1960). The interval is that of p_o by Wilson, with
    p_e as observed. The large-sample variance (Fleiss, Cohen and Everitt 1969) would be 0, and the
    interval a point, where two people agree on all of a few episodes.

    Args:
        first, second: labels of any kind, one per episode, in the same order.

    Returns:
        The estimate; without a value where both gave one and the same label throughout, which
        leaves nothing to agree about.
    """
    n = len(first)
    if len(second) != n:
        raise ValueError(f"{n} labels of one person, but {len(second)} of the other")
    words = np.union1d(first, second)
    chance = sum(float((first == word).mean() * (second == word).mean()) for word in words)
    if n == 0 or chance >= 1:
        return undefined(level=level, n=n, clusters=n, method=METHOD)
    equal = int((first == second).sum())
    low, high = ((bound - chance) / (1 - chance) for bound in wilson(equal, n, level=level))
    return Estimate(
        value=(equal / n - chance) / (1 - chance),
        low=max(low, -1.0),
        high=high,
        level=level,
        n=n,
        clusters=n,
        method=METHOD,
    )
