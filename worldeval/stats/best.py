"""Probability of being best and expected regret of each policy. Not for use as stopping rules."""

from worldeval.axes import Array, Float

TIES = 1e-12


def probability_best(draws: Float[Array, "b k"]) -> Float[Array, " k"]:
    """Return the share of posterior draws in which each policy has the highest rate; ties share."""
    first = draws >= draws.max(axis=1, keepdims=True) - TIES
    return (first / first.sum(axis=1, keepdims=True)).mean(axis=0)


def expected_regret(draws: Float[Array, "b k"]) -> Float[Array, " k"]:
    """Return the mean rate lost by choosing each policy instead of the best one."""
    return (draws.max(axis=1, keepdims=True) - draws).mean(axis=0)
