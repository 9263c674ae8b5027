"""Several frames' actions carried out in a row: by as few calls as the family of the world can."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.world.protocol import WorldModel


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Where a walk ended, and every frame after the one that it began at."""

    state: Any
    latents: Float32[Array, "b t v d h w"]
    pose: Float32[Array, "b t p"]


@runtime_checkable
class Walking(Protocol):
    """A world that imagines several frames a call where it is told their actions at once."""

    def walk(self, state: Any, actions: Float32[Array, "b t a"]) -> Walk: ...


def walk(world: WorldModel, state: Any, actions: Float32[Array, "b t a"]) -> Walk:
    """Carry out the actions of t frames, t at least 1.

    What is imagined of a frame may depend on how many actions were told at once: a world that
    imagines whole chunks (`ctrl_world`) sees where the hand is going.
    """
    if isinstance(world, Walking):
        return world.walk(state, actions)
    return stepped(world, state, actions)


def stepped(world: WorldModel, state: Any, actions: Float32[Array, "b t a"]) -> Walk:
    """The same, frame by frame."""
    latents, poses = [], []
    for action in np.moveaxis(actions, 1, 0):
        state = world.step(state, action)
        latents.append(world.latents(state))
        poses.append(world.pose(state))
    return Walk(state=state, latents=np.stack(latents, 1), pose=np.stack(poses, 1))
