"""Where a curve of verdicts changes sides: the moment at which two policies part.

The curve has the probability of success of an episode in which one policy acts until a moment and
another one from there, over the moments from 0 (the second policy alone) to the end (the first
alone).
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from worldeval.axes import Array, Float
from worldeval.stats.paired import mcnemar

CUT = 0.5  # probability from which an episode counts as a success
# With five starts or fewer at which verdicts differ, the exact sign test of two policies cannot
# reach 5%, even if all of them favour the same policy.
LEAST = 6
CLEAR = 0.1  # largest share of moments on the wrong side of a change that still counts as one


@dataclass(frozen=True, kw_only=True)
class Change:
    """The single change of sides that fits a curve best."""

    place: int  # the change lies between this moment and the next one
    wrong: float  # share of the moments in between whose verdict contradicts it

    @property
    def clear(self) -> bool:
        """Whether one change explains the curve."""
        return self.wrong <= CLEAR


def change_of(curve: Float[Array, " m"]) -> Change | None:
    """Find the change that contradicts the fewest verdicts; None if both ends have the same one.

    Among equally good ones, it is the one whose probabilities are nearest to 0 and 1, and then the
    earliest.
    """
    sides = curve >= CUT
    if len(curve) < 2 or sides[0] == sides[-1]:
        return None
    places = np.arange(len(curve) - 1)
    before = np.arange(len(curve)) <= places[:, None]  # change x moment
    wanted = before == sides[0]
    wrong = (wanted != sides).sum(1)
    misfit = np.abs(wanted - curve).sum(1).round(9)
    best = int(np.lexsort((places, misfit, wrong))[0])
    return Change(place=best, wrong=float(wrong[best]) / max(len(curve) - 2, 1))


def starts_for(discordant: int, starts: int, *, least: int = LEAST) -> int | None:
    """Starts among which `least` with different verdicts are expected, at the share observed.

    None if no verdict differed, because nothing is known of the share.
    """
    return ceil(least * starts / discordant) if discordant else None


def are_tied(first_only: int, second_only: int, *, level: float = 0.95) -> bool:
    """Whether the exact sign test leaves open which policy succeeds more often."""
    return mcnemar(first_only, second_only) > 1 - level
