"""A policy's actions as a world takes them: in its action space, finite and in its range.

Everything that lets a policy act in a world model goes through here.
"""

from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Float32, Int
from worldeval.data.action_space import ActionSpace
from worldeval.data.space_text import read_space, with_units
from worldeval.errors import UserError
from worldeval.policy.adapters.adapted import AdaptedPolicy
from worldeval.policy.adapters.motion import PlainAdapter
from worldeval.policy.protocol import Policy
from worldeval.policy.stacked import Stacked
from worldeval.world.protocol import WorldSpec

ROUNDING = 1e-3  # a policy that overshoots by rounding is not counted
ADVICE = (
    "Give actions as the world takes them, or an adapter that makes them so: worldeval adapter "
    "urdf or worldeval adapter train, and then POLICY?adapter=FOLDER."
)


@dataclass(frozen=True, kw_only=True)
class ClippedActions:
    """Actions that a world can carry out, and how many numbers had to be changed for it."""

    actions: Float32[Array, "b *k a"]
    count: Int[Array, " b"]


def clip(
    actions: Float32[Array, "b *k a"],
    low: float | Float32[Array, " a"],
    high: float | Float32[Array, " a"],
) -> ClippedActions:
    """Numbers outside [low, high] go to the nearest inside, and what is no number as 0 would."""
    clipped = np.clip(np.where(np.isnan(actions), 0, actions), low, high).astype(np.float32)
    changed = ~(np.abs(clipped - actions) <= ROUNDING)
    return ClippedActions(actions=clipped, count=changed.reshape(len(changed), -1).sum(1))


def fitted(policy: Policy, world: WorldSpec) -> Policy:
    """`policy` acting in `world`: itself, or within the adapter that its actions need.

    Where both say what their actions mean, other rotations, relative instead of absolute poses and
    joint velocities instead of positions are converted, one step of the policy to a world frame.
    Where one does not say, only the numbers are counted, and where a world frame has a whole
    multiple of the policy's, so many of its steps make one (`stacked_for`).

    Raises:
        UserError: the policy's actions cannot become the world's; says what both are.
    """
    spec, theirs = policy.spec, _space(world.space, "The world model")
    own = _space(spec.space, f"Policy {spec.name}")
    if own is None or theirs is None or own == theirs:
        policy = stacked_for(policy, world.action_dim)
        spec = policy.spec
        if spec.action_dim != world.action_dim:
            raise UserError(
                f"Policy {spec.name} gives {_told(spec.action_dim, own)} a world frame; the world "
                f"model takes {_told(world.action_dim, theirs)}. {ADVICE}"
            )
        return policy
    if world.action_dim != theirs.size:
        raise UserError(
            f"Policy {spec.name} commands {with_units(own)}; the world model takes "
            f"{world.action_dim} numbers a frame, {world.action_dim / theirs.size:g} steps of "
            f"{with_units(theirs)}. {ADVICE}"
        )
    return AdaptedPolicy(policy, PlainAdapter(own, theirs, steps=1, fps=world.fps))


def stacked_for(policy: Policy, action_dim: int) -> Policy:
    """`policy`, several of its actions to a world frame where a frame has so many times its
    numbers: a world of five controller steps to a frame takes five of them."""
    steps, rest = divmod(action_dim, policy.spec.action_dim)
    return Stacked(policy, steps) if steps > 1 and not rest else policy


def _space(text: str, whose: str) -> ActionSpace | None:
    try:
        return read_space(text) if text else None
    except UserError as error:
        raise UserError(f"{whose}: {error}") from error


def _told(count: int, space: ActionSpace | None) -> str:
    return f"{count} numbers" if space is None else f"{count} numbers, {with_units(space)},"
