"""Execute several frames' actions in a row, in as few calls as the world's family allows."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.world.protocol import WorldModel


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The state at the end of a walk, and every frame after the initial one."""

    state: Any
    latents: Float32[Array, "b t v d h w"]
    pose: Float32[Array, "b t p"]


@runtime_checkable
class Walking(Protocol):
    """A world that imagines several frames per call when it is given their actions together."""

    def walk(self, state: Any, actions: Float32[Array, "b t a"]) -> Walk: ...


def walk(world: WorldModel, state: Any, actions: Float32[Array, "b t a"]) -> Walk:
    """Execute the actions of t frames, t at least 1.

    An imagined frame may depend on how many actions are passed at once: a world that imagines whole
    chunks (`ctrl_world`) also sees the actions that follow.
    """
    if isinstance(world, Walking):
        return world.walk(state, actions)
    return stepped(world, state, actions)


def stepped(world: WorldModel, state: Any, actions: Float32[Array, "b t a"]) -> Walk:
    """Execute the same actions frame by frame."""
    latents, poses = [], []
    for action in np.moveaxis(actions, 1, 0):
        state = world.step(state, action)
        latents.append(np.array(world.latents(state)))  # copies: a world may reuse its arrays
        poses.append(np.array(world.pose(state)))
    return Walk(state=state, latents=np.stack(latents, 1), pose=np.stack(poses, 1))
