"""Chunks as the critic and its policies see them: standardised, flat, and only what is executed."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldeval.axes import Array
from worldeval.policy.network import PolicyNetwork


@dataclass(frozen=True, kw_only=True, eq=False)
class ChunkUnits:
    """How a policy's chunks are standardised, and how many of their frames are executed."""

    chunk: int  # world frames
    executed: int  # of them, before the policy is called again
    mean: Float[Tensor, " a"]
    scale: Float[Tensor, " a"]
    low: Float[Tensor, " a"]  # of actions, standardised
    high: Float[Tensor, " a"]

    @property
    def size(self) -> int:
        """Numbers of what is executed."""
        return self.executed * len(self.mean)

    def first(self, chunks: Float[Tensor, "*n ka"]) -> Float[Tensor, "*n executed"]:
        """What is executed of standardised chunks."""
        return chunks[..., : self.size]

    def replaced(
        self, chunks: Float[Tensor, "*n ka"], executed: Float[Tensor, "*n executed"]
    ) -> Float[Tensor, "*n ka"]:
        """The same chunks with another beginning."""
        return torch.cat([executed, chunks[..., self.size :]], -1)

    def bounded(self, chunks: Float[Tensor, "*n part"]) -> Float[Tensor, "*n part"]:
        """Clip standardised chunks, or their beginning, to the actions' bounds."""
        return torch.clamp(chunks, *self._bounds(chunks))

    def squashed(self, chunks: Float[Tensor, "*n part"]) -> Float[Tensor, "*n part"]:
        """Standardised chunks on a scale of -1 to 1, the actions' bounds."""
        low, high = self._bounds(chunks)
        return 2 * (chunks - low) / (high - low) - 1

    def stretched(self, chunks: Float[Tensor, "*n part"]) -> Float[Tensor, "*n part"]:
        """The inverse of `squashed`."""
        low, high = self._bounds(chunks)
        return low + (chunks + 1) / 2 * (high - low)

    def _bounds(self, chunks: Tensor) -> tuple[Tensor, Tensor]:
        """The bounds of every number, where the chunks are."""
        frames = chunks.shape[-1] // len(self.mean)
        low, high = self.low.repeat(frames), self.high.repeat(frames)
        return low.to(chunks.device), high.to(chunks.device)

    def part(self, actions: Float[Array, "t a"], frame: int) -> Float[Tensor, " executed"]:
        """What was executed from a frame on, standardised; the last action is repeated."""
        at = np.minimum(frame + np.arange(self.executed), len(actions) - 1)
        given = torch.from_numpy(actions[at]).float()
        return ((given - self.mean.cpu()) / self.scale.cpu()).flatten()


def units_of(network: PolicyNetwork, *, replan_every: int) -> ChunkUnits:
    """The units of a policy that is called every `replan_every` world frames."""
    mean, scale = network.action_mean, network.action_scale
    return ChunkUnits(
        chunk=network.chunk,
        executed=min(replan_every, network.chunk),
        mean=mean,
        scale=scale,
        low=(network.action_low - mean) / scale,
        high=(network.action_high - mean) / scale,
    )
