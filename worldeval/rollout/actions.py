"""Convert a policy's actions to a world's action space, finite and within range.

Every policy that acts in a world model goes through this module.
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

ROUNDING = 1e-3  # excess that is attributed to rounding and not counted
ADVICE = (
    "Return actions as the world takes them, or make an adapter that converts them: worldeval "
    "adapter urdf or worldeval adapter train, then POLICY?adapter=FOLDER."
)


@dataclass(frozen=True, kw_only=True)
class ClippedActions:
    """Actions that a world can execute, and how many of their values had to be changed."""

    actions: Float32[Array, "b *k a"]
    count: Int[Array, " b"]


def clip(
    actions: Float32[Array, "b *k a"],
    low: float | Float32[Array, " a"],
    high: float | Float32[Array, " a"],
) -> ClippedActions:
    """Clip values outside [low, high] to the nearest bound; treat NaN and infinities as 0."""
    clipped = np.clip(np.where(np.isnan(actions), 0, actions), low, high).astype(np.float32)
    changed = ~(np.abs(clipped - actions) <= ROUNDING)
    return ClippedActions(actions=clipped, count=changed.reshape(len(changed), -1).sum(1))


def fitted(policy: Policy, world: WorldSpec) -> Policy:
    """Return a policy that can act in `world`: `policy` itself, or wrapped in an adapter.

    If both declare what their actions mean, rotations, relative and absolute poses, and joint
    velocities and positions are converted, one policy step per world frame. If one of them does
    not, only the action sizes are compared; if a world frame's size is a whole multiple of the
    policy's, that many policy steps make one frame (`stacked_for`).

    Raises:
        UserError: the policy's actions cannot be converted to the world's; the message describes
            both.
    """
    spec, theirs = policy.spec, _space(world.space, "The world model")
    own = _space(spec.space, f"Policy {spec.name}")
    if own is None or theirs is None or own == theirs:
        policy = stacked_for(policy, world.action_dim)
        spec = policy.spec
        if spec.action_dim != world.action_dim:
            raise UserError(
                f"Policy {spec.name} gives {_told(spec.action_dim, own)} per world frame; the "
                f"world model takes {_told(world.action_dim, theirs)}. {ADVICE}"
            )
        return policy
    if world.action_dim != theirs.size:
        raise UserError(
            f"Policy {spec.name} commands {with_units(own)}; the world model takes "
            f"{world.action_dim} values per frame, {world.action_dim / theirs.size:g} steps of "
            f"{with_units(theirs)}. {ADVICE}"
        )
    return AdaptedPolicy(policy, PlainAdapter(own, theirs, steps=1, fps=world.fps))


def stacked_for(policy: Policy, action_dim: int) -> Policy:
    """Stack several of the policy's actions into one if a frame has a multiple of their size: a
    world with five controller steps per frame takes five of them."""
    steps, rest = divmod(action_dim, policy.spec.action_dim)
    return Stacked(policy, steps) if steps > 1 and not rest else policy


def _space(text: str, whose: str) -> ActionSpace | None:
    try:
        return read_space(text) if text else None
    except UserError as error:
        raise UserError(f"{whose}: {error}") from error


def _told(count: int, space: ActionSpace | None) -> str:
    return f"{count} values" if space is None else f"{count} values, {with_units(space)},"
