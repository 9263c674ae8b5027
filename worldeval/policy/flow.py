"""Flow matching: an action chunk carried from noise to data along straight paths.

Lipman et al., "Flow Matching for Generative Modeling" (2023), with the linear path of Liu et al.,
"Flow Straight and Fast" (2023): x_s = (1 - s) noise + s action, so the velocity is action - noise.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FREQUENCIES = 8  # of the flow time's embedding


class FlowHead(nn.Module):
    """A velocity field over action chunks, given features."""

    def __init__(self, width: int, hidden: int, target: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.target = target
        self.layers = nn.Sequential(
            nn.Linear(width + target + 2 * FREQUENCIES, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, target),
        )

    def velocity(
        self, x: Float[Tensor, "b ka"], s: Float[Tensor, "b 1"], feature: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b ka"]:
        """d x / d s at flow time s in [0, 1]."""
        angle = s * math.pi * 2.0 ** torch.arange(-1, FREQUENCIES - 1, device=s.device)
        return self.layers(torch.cat([x, angle.sin(), angle.cos(), feature], dim=-1))

    def loss(
        self,
        feature: Float[Tensor, "b d"],
        target: Float[Tensor, "b ka"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error of the velocity at a random flow time."""
        noise = torch.randn(target.shape, generator=generator)
        s = torch.rand(len(target), 1, generator=generator)
        return F.mse_loss(self.velocity(torch.lerp(noise, target, s), s, feature), target - noise)

    def act(
        self, feature: Float[Tensor, "b d"], generators: list[torch.Generator]
    ) -> Float[Tensor, "b ka"]:
        """Euler integration from each episode's own noise."""
        x = torch.stack([torch.randn(self.target, generator=g) for g in generators])
        for step in range(self.steps):
            s = torch.full((len(x), 1), step / self.steps)
            x = x + self.velocity(x, s, feature) / self.steps
        return x
