"""The range of an action's numbers, as far as recordings show it."""

import numpy as np

from worldeval.axes import Array, Bool, Float
from worldeval.data.part import UNKNOWN
from worldeval.data.space_text import read_space

MARGIN = 0.1  # beyond the recorded range, as a share of its spread
LEAST = 0.01  # the smallest margin: a centimetre, half a degree
ROUNDING = 1e-3


def action_bounds(
    actions: Float[Array, "n a"], space: str
) -> dict[str, tuple[float, ...]]:  # keyword arguments of a WorldSpec, or of a policy's Sizes
    """Return `action_low` and `action_high` for a model trained on `actions`.

    Metres, radians and pixels have no natural range: theirs is the recorded one plus a margin. So
    it is for parts of `space` in units that nobody states, and for all actions without a declared
    space, unless they stay within [-1, 1]: these are normalised to a largest step, and keep it.
    """
    low, high = actions.min(0).astype(float), actions.max(0).astype(float)
    more = np.maximum(MARGIN * (high - low), LEAST)
    low, high = np.round(low - more, 4), np.round(high + more, 4)
    normalised = np.zeros(actions.shape[1], bool)
    for columns in _without_unit(space, actions.shape[1]):
        if np.abs(actions[:, columns]).max(initial=0.0) <= 1.0 + ROUNDING:
            low[columns], high[columns] = -1.0, 1.0
            normalised[columns] = True
    if normalised.all():
        return {}
    return {"action_low": tuple(low.tolist()), "action_high": tuple(high.tolist())}


def _without_unit(space: str, width: int) -> list[Bool[Array, " a"]]:
    """Masks of the columns that may be normalised: all of them without a space, else those of each
    part whose unit is not stated, in every controller step."""
    if not space:
        return [np.ones(width, bool)]
    read = read_space(space)
    out = []
    for part, span in read.spans():
        if part.control == "numbers" or UNKNOWN in (part.unit, part.angle):
            step = np.arange(width) % read.size
            out.append((span.start <= step) & (step < span.stop))
    return out
