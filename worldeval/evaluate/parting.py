"""Where two policies part: hand-overs in imagination from every start, and the change they show.

Of a start that the winner wins and the loser loses, two curves are kept: `rescue`, the loser until
a moment and the winner from there, and `spoil`, the winner until a moment and the loser from there.
The decisive chunk is the loser's chunk at which `rescue` changes sides: before it, the winner can
still succeed; after it, no longer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Float
from worldeval.improve.place import Judging
from worldeval.policy.protocol import Policy
from worldeval.record import Rollout, Start
from worldeval.rollout.handover import hand_over, moments_of
from worldeval.rollout.phases import contact_of, phase_of
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.runs.explanation import HandoverCurve, PartedStart
from worldeval.stats.decisive import CUT, change_of
from worldeval.world.protocol import WorldModel

Progress = Callable[[int, int], None]  # starts done, all starts


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """What hand-overs between two policies from one start show, both ways round."""

    start: Start
    curves: Mapping[str, HandoverCurve]  # by the name of the policy that begins
    own: Mapping[str, Rollout]  # each policy's own episode
    evidence: Mapping[str, Float[Array, " t"]]  # by frame, of these

    def probability(self, name: str) -> float:
        """Probability of success of a policy's own episode."""
        return self.curves[name].probability[-1]

    @property
    def inner(self) -> Float[Array, " m"]:
        """Probabilities of all real hand-overs: between the first and the last frame."""
        return np.concatenate([curve.probability[1:-1] for curve in self.curves.values()])


def handed_over(
    world: WorldModel,
    judge: Judging,
    policies: Mapping[str, Policy],
    starts: Sequence[Start],
    recipe: ProtocolRecipe,
    *,
    seed: int,
    progress: Progress | None = None,
) -> list[HandedOver]:
    """Let each of two policies hand over to the other at every moment, from every start.

    Args:
        policies: the two, by name.
        seed: of the run; a start has the same seed as in it.
    """
    first, second = policies
    horizon, every = recipe.horizon, recipe.replan_every
    copies = max(
        len(moments_of(policy, horizon=horizon, replan_every=every)) for policy in policies.values()
    )
    size = max(1, recipe.batch // copies)  # starts together: about as many episodes as in the run
    found = []
    for begin in range(0, len(starts), size):
        part = starts[begin : begin + size]
        sides = {}
        for one, other in ((first, second), (second, first)):
            made = hand_over(
                world, policies[one], policies[other], part, horizon=horizon, replan_every=every,
                seeds=[seed + start.seed for start in part],
            )  # fmt: skip
            verdicts = judge([rollout for each in made.rollouts for rollout in each])
            graded = np.reshape([verdict.probability for verdict in verdicts], (len(part), -1))
            own = [each[-1] for each in made.rollouts]
            sides[one] = (other, made.moments, graded, own, judge.over_time(own))
        for row, start in enumerate(part):
            found.append(
                HandedOver(
                    start=start,
                    curves={
                        name: HandoverCurve(
                            first=name,
                            second=other,
                            moments=moments,
                            probability=tuple(round(float(p), 6) for p in graded[row]),
                        )
                        for name, (other, moments, graded, *_) in sides.items()
                    },
                    own={name: side[3][row] for name, side in sides.items()},
                    evidence={name: side[4][row] for name, side in sides.items()},
                )
            )
        if progress is not None:
            progress(len(found), len(starts))
    return found


def parted(found: HandedOver, *, place: tuple[int, ...]) -> PartedStart | None:
    """Name the decisive chunk of a start; None if the two policies' own verdicts agree.

    Args:
        place: pose columns that give the robot's position.
    """
    success = {name: found.probability(name) >= CUT for name in found.curves}
    if len(set(success.values())) == 1:
        return None
    winner, loser = sorted(success, key=lambda name: not success[name])
    rescue, spoil = found.curves[loser], found.curves[winner]
    change = change_of(np.array(rescue.probability))
    if change is None:  # the ends are own episodes, imagined twice, and only nearly the same
        return None
    begin, end = rescue.moments[change.place : change.place + 2]
    won = change_of(np.array(spoil.probability))
    contacts = {name: contact_of(rollout, place) for name, rollout in found.own.items()}
    return PartedStart(
        start=found.start.id,
        task=found.start.task,
        seed=found.start.seed,
        winner=winner,
        loser=loser,
        probability={name: found.probability(name) for name in found.curves},
        begin=begin,
        end=end,
        phase=phase_of(begin, end, contacts[loser]),
        clear=change.clear,
        rescue=rescue,
        spoil=spoil,
        won=spoil.moments[won.place + 1] if won is not None and won.clear else None,
        evidence={
            name: tuple(round(float(p), 4) for p in evidence)
            for name, evidence in found.evidence.items()
        },
        onset={
            name: None if contact is None else contact.first for name, contact in contacts.items()
        },
    )
