"""Flow matching: an action chunk moved from noise to data along straight paths.

Lipman et al., "Flow Matching for Generative Modeling" (2023), with the linear path of Liu et al.,
"Flow Straight and Fast" (2023): x_s = (1 - s) noise + s action, so the velocity is action - noise.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from worldeval.policy.heads.denoise import DenoisingHead, Path


class FlowHead(DenoisingHead):
    """A velocity field over action chunks, given features."""

    def __init__(self, width: int, hidden: int, target: int, steps: int) -> None:
        super().__init__(width, hidden, target)
        self.steps = steps
        self.path = straight(torch.arange(steps + 1) / steps)

    def clean_at(
        self,
        x: Float[Tensor, "b ka"],
        time: Float[Tensor, "b 1"],
        signal: Float[Tensor, "b 1"],
        noise: Float[Tensor, "b 1"],
        feature: Float[Tensor, "b d"],
    ) -> Float[Tensor, "b ka"]:
        """The end point of the straight path."""
        return x + noise * self.predict(x, time, feature)

    def path_like(self, other: Path) -> Path:
        """Flow times with the other path's signal-to-noise ratios: s = a / (a + b)."""
        return straight(other.signal / (other.signal + other.noise))

    def loss(
        self,
        feature: Float[Tensor, "b d"],
        target: Float[Tensor, "b ka"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error of the velocity at a random flow time."""
        noise = torch.randn(target.shape, generator=generator).to(target)
        s = torch.rand(len(target), 1, generator=generator).to(target)
        return F.mse_loss(self.predict(torch.lerp(noise, target, s), s, feature), target - noise)

    def move(
        self, x: Float[Tensor, "b ka"], step: int, feature: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b ka"]:
        """Take Euler's step, which is DDIM's on this path."""
        s = torch.full((len(x), 1), step / self.steps, device=x.device)
        return x + self.predict(x, s, feature) / self.steps


def straight(s: Float[Tensor, " levels"]) -> Path:
    """The linear path through the given flow times, from noise (0) to data (1)."""
    return Path(time=s[:-1], signal=s, noise=1 - s)
