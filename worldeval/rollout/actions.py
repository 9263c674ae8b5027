"""Convert a policy's actions to a world's action space, finite and within range.

Every policy that acts in a world model goes through this module.
"""

from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Float32, Int
from worldeval.data.action_space import ActionSpace
from worldeval.data.frame_times import same_rate
from worldeval.data.space_text import read_space, with_units
from worldeval.errors import UserError
from worldeval.policy.adapters.adapted import AdaptedPolicy
from worldeval.policy.adapters.plain import PlainAdapter
from worldeval.policy.protocol import Policy, PolicySpec
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

    If both declare what their actions mean, every part of the robot is converted by itself:
    rotations, units, relative and absolute control, velocities, and rates (`PolicySpec.fps`). If a
    world frame holds several controller steps, so many policy steps make one frame. If one of them
    declares nothing, only the action sizes are compared; if a world frame's size is a whole
    multiple of the policy's, that many policy steps make one frame (`stacked_for`).

    Raises:
        UserError: the policy's actions cannot be converted to the world's; the message describes
            both, and names the part.
    """
    spec, theirs = policy.spec, _space(world.space, "The world model")
    own = _space(spec.space, f"Policy {spec.name}")
    alike = own is None or theirs is None or own == theirs
    if alike and (spec.fps is None or _same_rate(policy, world)):
        policy = stacked_for(policy, world.action_dim)
        spec = policy.spec
        if spec.action_dim != world.action_dim:
            raise UserError(
                f"Policy {spec.name} gives {_told(spec.action_dim, own)} per world frame; the "
                f"world model takes {_told(world.action_dim, theirs)}. {ADVICE}"
            )
        return policy
    if theirs is None:
        raise UserError(
            f"Policy {spec.name} gives {spec.fps:g} actions of {spec.action_dim} numbers per "
            f"second, and the world model takes {world.action_dim} numbers {world.fps:g} times per "
            "second. Nothing is known of its actions, so they cannot be resampled: say what they "
            "mean in the map of the data, and train on it."
        )
    stacked, rest = divmod(world.action_dim, theirs.size)
    if rest or not stacked:
        raise UserError(
            f"Policy {spec.name} commands {with_units(own or theirs)}; the world model takes "
            f"{world.action_dim} values per frame, {world.action_dim / theirs.size:g} steps of "
            f"{with_units(theirs)}. {ADVICE}"
        )
    rate = world.fps * stacked
    steps, held = _resampled(spec, rate)
    pose = _space(world.pose_space, "The world model's pose")
    try:
        adapter = PlainAdapter(
            own or theirs, theirs, fps=rate * steps / held, steps=steps, held=held,
            stacked=stacked, pose=pose,
        )  # fmt: skip
    except UserError as error:
        raise UserError(f"Policy {spec.name} does not fit the world model. {error}") from error
    return AdaptedPolicy(policy, adapter)


def _same_rate(policy: Policy, world: WorldSpec) -> bool:
    """Whether the policy gives one action per controller step, or per frame, of the world."""
    steps, rest = divmod(world.action_dim, policy.spec.action_dim)
    return not rest and policy.spec.fps is not None and same_rate(
        policy.spec.fps, world.fps * steps
    )  # fmt: skip


def _resampled(spec: PolicySpec, rate: float) -> tuple[int, int]:
    """Policy steps in a controller step of the world, and controller steps in a policy step."""
    if spec.fps is None:
        return 1, 1
    steps, held = max(1, round(spec.fps / rate)), max(1, round(rate / spec.fps))
    if not same_rate(spec.fps, rate * steps / held):
        raise UserError(
            f"Policy {spec.name} gives {spec.fps:g} actions per second, and the world model takes "
            f"{rate:g}. One must be a whole multiple of the other; the policy's rate is fps= in "
            "its address."
        )
    return steps, held


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
