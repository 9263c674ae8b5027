"""Diffusion: an action chunk denoised in a few DDIM steps.

Chi et al., "Diffusion Policy" (2023): cosine noise levels (Nichol and Dhariwal, 2021), many in
training and a few in use. The network predicts v = signal * noise - noise_level * clean (Salimans
and Ho, "Progressive Distillation", 2022), from which the clean chunk follows without dividing by
the signal, so that nothing has to be clipped at levels with hardly any signal.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from worldeval.policy.heads.denoise import DenoisingHead, Path

LARGEST_BETA = 0.999  # of the cosine schedule, whose last step would remove all signal


class DiffusionHead(DenoisingHead):
    """A prediction of v over action chunks, given features."""

    kept: Tensor  # the signal's share of the variance at every level of training

    def __init__(
        self,
        width: int,
        hidden: int,
        target: int,
        *,
        levels: int,
        steps: int,
        network: nn.Module | None = None,
    ) -> None:
        super().__init__(width, hidden, target, network)
        self.register_buffer("kept", kept_signal(levels), persistent=False)
        self.path = self.path_at(spaced(levels, steps))

    def clean_at(
        self,
        x: Float[Tensor, "b ka"],
        time: Float[Tensor, "b 1"],
        signal: Float[Tensor, "b 1"],
        noise: Float[Tensor, "b 1"],
        feature: Float[Tensor, "b d"],
    ) -> Float[Tensor, "b ka"]:
        """signal * x - noise * v."""
        return signal * x - noise * self.predict(x, time, feature)

    def path_like(self, other: Path) -> Path:
        """This head's nearest levels in signal-to-noise ratio."""
        kept = other.signal[:-1] ** 2 / (other.signal[:-1] ** 2 + other.noise[:-1] ** 2)
        return self.path_at((self.kept[None] - kept[:, None]).abs().argmin(1))

    def path_at(self, chosen: Tensor) -> Path:
        """The path through the training levels `chosen`, ending at the clean chunk."""
        kept = torch.cat([self.kept[chosen], self.kept.new_ones(1)])
        time = (chosen + 1) / len(self.kept)
        return Path(time=time.float(), signal=kept.sqrt(), noise=(1 - kept).sqrt())

    def loss(
        self,
        feature: Float[Tensor, "b d"],
        target: Float[Tensor, "b ka"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error of v at a random noise level."""
        level = torch.randint(len(self.kept), (len(target), 1), generator=generator)
        level, noise = level.to(target.device), torch.randn(target.shape, generator=generator)
        noise = noise.to(target)
        signal, spread = self.kept[level].sqrt(), (1 - self.kept[level]).sqrt()
        noised = signal * target + spread * noise
        time = (level + 1) / len(self.kept)
        return F.mse_loss(self.predict(noised, time, feature), signal * noise - spread * target)


def kept_signal(levels: int) -> Float[Tensor, " n"]:
    """The signal's share of the variance at each level of the cosine schedule."""

    def share(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [
        min(1 - share((level + 1) / levels) / share(level / levels), LARGEST_BETA)
        for level in range(levels)
    ]
    return torch.cumprod(1 - torch.tensor(betas), 0)


def spaced(levels: int, steps: int) -> Tensor:
    """The levels of sampling, evenly spaced from the noisiest ('trailing' spacing)."""
    return torch.arange(levels, 0, -levels / steps).round().long() - 1
