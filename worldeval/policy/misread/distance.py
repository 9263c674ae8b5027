"""How far a policy's actions are from the demonstrators', for every group of columns.

Errors are in spreads of the demonstrators' actions (mean absolute deviation from the median), so
that 1 is what the best constant would get, and cut off at `LARGEST`, so that one unit does not
outweigh everything. Rotations are compared as rotations, by the angle between them.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float
from worldeval.data.columns import ColumnGroup, Groups, spans
from worldeval.policy.misread.rotations import rotations_of

LARGEST = 3.0
STILL = 1e-6  # spread below which a column never moves and is not compared
TURNS = 3  # columns that a rotation counts as


@dataclass(frozen=True, kw_only=True)
class ActionDistance:
    """Distances in the action space of `groups`, the columns of one controller step."""

    groups: Groups
    spread: tuple[Float[Array, " _"], ...] = field(repr=False)  # of each group, in its units

    @property
    def weight(self) -> Float[Array, " g"]:
        """Number of columns of each group that are compared."""
        count = [
            TURNS * int(spread[0] > STILL) if group.means == "rotation" else (spread > STILL).sum()
            for group, spread in zip(self.groups, self.spread, strict=True)
        ]
        return np.array(count, np.float64)

    def __call__(
        self, actions: Float[Array, "n w"], wanted: Float[Array, "n w"]
    ) -> Float[Array, "n g"]:
        """Return the error of every group, in spreads."""
        out = np.zeros((len(actions), len(self.groups)))
        for index, error in enumerate(self._errors(actions, wanted)):
            moves = self.spread[index] > STILL
            if moves.any():
                share = error[:, moves] / self.spread[index][moves]
                out[:, index] = np.minimum(share, LARGEST).mean(1)
        return out

    def plain(
        self, actions: Float[Array, "n w"], wanted: Float[Array, "n w"]
    ) -> Float[Array, "n g"]:
        """Return the error of every group in its own unit; of a rotation, in radians."""
        return np.stack([error.mean(1) for error in self._errors(actions, wanted)], axis=1)

    def _errors(self, actions: Array, wanted: Array) -> list[Float[Array, "n _"]]:
        actions = np.nan_to_num(actions.astype(np.float64), posinf=1e6, neginf=-1e6)
        out = []
        for group, span in spans(self.groups):
            if group.means == "rotation":
                turned, goal = (_rotation(group, each[:, span]) for each in (actions, wanted))
                out.append((turned * goal.inv()).magnitude()[:, None])
            else:
                out.append(np.abs(actions[:, span] - wanted[:, span]))
        return out


def action_distance(groups: Groups, demonstrated: Float[Array, "n w"]) -> ActionDistance:
    """Measure the demonstrators' spread and return distances relative to it."""
    spread = []
    for group, span in spans(groups):
        own = demonstrated[:, span].astype(np.float64)
        if group.means == "rotation":
            turned = _rotation(group, own)
            spread.append(np.array([(turned * turned.mean().inv()).magnitude().mean()]))
        else:
            spread.append(np.abs(own - np.median(own, 0)).mean(0))
    return ActionDistance(groups=groups, spread=tuple(spread))


def _rotation(group: ColumnGroup, values: Float[Array, "n r"]) -> Rotation:
    return rotations_of(values, str(group.form), group.factor or 1.0)
