"""The range of an action's numbers, as far as recordings show it."""

import numpy as np

from worldeval.axes import Array, Float

MARGIN = 0.1  # beyond the recorded range, as a share of its spread
LEAST = 0.01  # the smallest margin: a centimetre, half a degree
ROUNDING = 1e-3


def action_bounds(
    actions: Float[Array, "n a"], space: str
) -> dict[str, tuple[float, ...]]:  # keyword arguments of a WorldSpec, or of a policy's Sizes
    """Return `action_low` and `action_high` for a model trained on `actions`.

    Actions normalised to a largest step have no declared `space` and stay within [-1, 1]; they keep
    that range. Metres and radians have no natural range: theirs is the recorded one plus a margin.
    """
    if not space and np.abs(actions).max(initial=0.0) <= 1.0 + ROUNDING:
        return {}
    low, high = actions.min(0).astype(float), actions.max(0).astype(float)
    more = np.maximum(MARGIN * (high - low), LEAST)
    return {
        "action_low": tuple(np.round(low - more, 4).tolist()),
        "action_high": tuple(np.round(high + more, 4).tolist()),
    }
