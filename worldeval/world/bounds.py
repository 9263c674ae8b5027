"""The range of a world's actions: what its data hold, since nothing else was ever learned."""

import numpy as np

from worldeval.axes import Array, Float

MARGIN = 0.1  # beyond what was recorded, as a share of its spread
LEAST = 0.01  # and at least so much: a centimetre, half a degree
ROUNDING = 1e-3


def action_bounds(
    actions: Float[Array, "n a"], space: str
) -> dict[str, tuple[float, ...]]:  # keyword arguments of a WorldSpec
    """`action_low` and `action_high` of a world trained on `actions`.

    Shares of a greatest step, which have no declared `space` and stay within [-1, 1], keep that
    range. Metres and radians have none: theirs is what was recorded, and a little more.
    """
    if not space and np.abs(actions).max(initial=0.0) <= 1.0 + ROUNDING:
        return {}
    low, high = actions.min(0).astype(float), actions.max(0).astype(float)
    more = np.maximum(MARGIN * (high - low), LEAST)
    return {
        "action_low": tuple(np.round(low - more, 4).tolist()),
        "action_high": tuple(np.round(high + more, 4).tolist()),
    }
