"""When a learned judge abstains: where its members disagree more than on most held-out episodes."""

import numpy as np

from worldeval.axes import Array, Bool, Float


def disagreement(votes: Float[Array, "m e"]) -> Float[Array, " e"]:
    """Return the difference between the largest and the smallest vote on each episode."""
    return votes.max(0) - votes.min(0)


def abstention_bound(
    votes: Float[Array, "m e"], success: Bool[Array, " e"], *, share: float
) -> float | None:
    """Return the disagreement above which the judge should abstain.

    Args:
        votes: of members that have not seen the episodes' families, calibrated without them.
        success: whether the episodes succeeded.
        share: largest share of these episodes without a verdict.

    Returns:
        The bound, or None if nothing is gained: no episode is above it, or those above are judged
        no worse (by the mean vote, cut at one half) than the others.
    """
    apart = disagreement(votes)
    bound = float(np.sort(apart)[-1 - int(share * len(apart))])
    doubted = apart > bound
    if not doubted.any():
        return None
    wrong = (votes.mean(0) > 0.5) != success
    return bound if wrong[doubted].mean() > wrong[~doubted].mean() else None
