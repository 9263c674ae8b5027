"""One way in which a policy and the data may disagree, and the change that mends it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from worldeval.axes import Array, Float, Float32
from worldeval.record import Observation


@dataclass(frozen=True, kw_only=True)
class Moved:
    """The recorded poses that an action change may need."""

    now: Float[Array, "n p"]  # at the world frame that the action is for
    asked: Float[Array, "n p"]  # when the policy was asked for the chunk


See = Callable[[Observation], Observation]
Act = Callable[[Float[Array, "n s w"], Moved], Float[Array, "n s w"]]


@dataclass(frozen=True, kw_only=True)
class Misreading:
    """A change of what a policy is given or of what it returns.

    `see` changes one moment, without its past. `act` changes actions of n world frames of s
    controller steps of w numbers. A `shift` of 1 takes the actions for those of one frame later.
    """

    code: str
    family: str  # two changes of one family are never tried together
    text: str  # completes "The policy agrees with the demonstrators if ..."
    see: See | None = None
    act: Act | None = None
    shift: int = 0
    touches: tuple[int, ...] | None = None  # indexes of the action's groups; None: all

    def seen(self, observation: Observation) -> Observation:
        """Apply the change to every moment of an observation."""
        return observation if self.see is None else observation.each(self.see)

    def acted(self, actions: Float[Array, "n s w"], moved: Moved) -> Float[Array, "n s w"]:
        """Apply the change to actions."""
        return actions if self.act is None else self.act(actions, moved)


@dataclass(frozen=True, kw_only=True)
class Untried:
    """A misreading that could not be tried, and the reason."""

    code: str
    reason: str


NOTHING = Misreading(code="as it is", family="", text="nothing is changed", touches=())


def both(first: Misreading, second: Misreading) -> Misreading:
    """Apply two changes, one after the other."""
    see = _then(first.see, second.see)
    touches = None
    if first.touches is not None and second.touches is not None:
        touches = tuple(sorted({*first.touches, *second.touches}))
    plain = first.act is None and second.act is None

    def act(actions: Float[Array, "n s w"], moved: Moved) -> Float[Array, "n s w"]:
        return second.acted(first.acted(actions, moved), moved)

    return Misreading(
        code=f"{first.code} + {second.code}",
        family=f"{first.family} + {second.family}",
        text=f"{first.text}, and {second.text}",
        see=see,
        act=None if plain else act,
        shift=first.shift + second.shift,
        touches=touches,
    )


def of_pose(change: Callable[[Float[Array, "n p"]], Float[Array, "n p"]]) -> See:
    """Lift a change of poses to observations."""

    def see(moment: Observation) -> Observation:
        return replace(moment, pose=_single(change(moment.pose.astype(np.float64))))

    return see


def _then(first: See | None, second: See | None) -> See | None:
    if first is None or second is None:
        return first or second
    return lambda moment: second(first(moment))


def _single(values: Float[Array, "n p"]) -> Float32[Array, "n p"]:
    return values.astype(np.float32)
