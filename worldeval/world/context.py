"""What a dynamics network is given to imagine one frame, and what it must offer in return."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from worldeval.axes import Bool, Float, Int
from worldeval.world.features import Motion


@dataclass(frozen=True, kw_only=True)
class Context:
    """One step's condition for a batch of episodes. Latents are standardised."""

    latent: Float[Tensor, "b v d h w"]  # newest frame
    previous: Float[Tensor, "b v d h w"]  # the frame before; the start's own at the start
    first: Float[Tensor, "b v d h w"]  # the start: observed, never imagined
    memory: Float[Tensor, "b v d h w"]  # an older frame, the nearest in pose to the next
    memory_pose: Float[Tensor, "b p"]
    motion: Motion
    next_pose: Float[Tensor, "b p"]  # where the hand will be when the frame is taken


@runtime_checkable
class Dynamics(Protocol):
    """A network that imagines the next frame of every view together."""

    def predict(
        self, context: Context, *, generators: list[torch.Generator] | None
    ) -> Float[Tensor, "b v d h w"]:
        """The next frame's latents; episode i draws from its own generator, if it draws at all."""
        ...


def nearest_by_pose(
    candidates: Float[Tensor, "b t p"],
    allowed: Bool[Tensor, "b t"],
    target: Float[Tensor, "b p"],
    scale: Float[Tensor, " p"],
) -> Int[Tensor, " b"]:
    """Index of the allowed past frame whose pose is nearest to `target`; 0 where none is allowed.

    Distances are in units of `scale`. The newest frames are in the context already, so the caller
    does not allow them. The start is in it too, but as the start: it may be found, since only a
    frame that is found says at which pose it was seen.
    """
    distance = ((candidates - target[:, None]) / scale).square().sum(2)
    distance = distance.masked_fill(~allowed, torch.inf)
    return torch.where(allowed.any(1), distance.argmin(1), 0)


def nearest_frames(
    candidates: Float[Tensor, "b t p"],
    target: Float[Tensor, "b p"],
    *,
    scale: Float[Tensor, " p"],
    count: int,
) -> Int[Tensor, "b k"]:
    """Indices of the `count` past frames whose poses are nearest to `target`, nearest first.

    Distances are in units of `scale`. There must be at least `count` candidates.
    """
    distance = ((candidates - target[:, None]) / scale).square().sum(2)
    return distance.topk(count, largest=False).indices
