"""Goal-conditioned score-based diffusion with classifier-free guidance (BESO).

Reuss et al., "Goal-Conditioned Imitation Learning using Score-based Diffusion Policies" (arXiv
2304.02532): a denoiser with the preconditioning of Karras et al. ("EDM", arXiv 2206.00364, eq. 7)
learns actions given the observation and a goal image from later in the same recording. Without a
goal for a share of the samples, it also learns the policy without goals, and guidance extrapolates
from one to the other (Ho and Salimans, arXiv 2207.12598, eq. 6). Three DDIM steps over
exponentially spaced noise levels suffice.

What differs:
- The denoiser is the small MLP of the other heads, where the paper has a transformer.
- Noised chunks are divided by sqrt(1 + sigma^2). DDIM's steps are the same under this scale, so
  that the chain is that of `DenoisingHead`, with its policy gradients, mixtures and warm starts.
- Actions are standardised, so sigma_data is 1, where the paper has .5 for actions in [-1, 1].
- Goals are single images of all views. Where none is given, the policy takes the end of the
  demonstration of its task that began most alike (`goals.py`).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from worldeval.policy.heads.denoise import DenoisingHead, Path, noise_of
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import BesoSettings

SIGMA_DATA = 1.0
SIGMA_MIN, SIGMA_MAX = 0.02, 5.0
SPREAD = 0.5  # of the log-logistic distribution of training's noise levels


class BesoHead(DenoisingHead):
    """A preconditioned denoiser of chunks, given features with a goal."""

    def __init__(self, parts: Parts, hidden: int, target: int, settings: BesoSettings) -> None:
        super().__init__(parts.width, hidden, target)
        self.parts, self.settings = parts, settings
        ladder = torch.linspace(math.log(SIGMA_MAX), math.log(SIGMA_MIN), settings.steps).exp()
        self.path = scaled(ladder)

    def clean_at(
        self,
        x: Float[Tensor, "b ka"],
        time: Float[Tensor, "b 1"],
        signal: Float[Tensor, "b 1"],
        noise: Float[Tensor, "b 1"],
        feature: Float[Tensor, "b d"],
    ) -> Float[Tensor, "b ka"]:
        """The denoised chunk, guided towards the goal."""
        sigma, noised = noise / signal, x / signal
        w = self.settings.guidance
        free = self.parts.without_goal(feature)
        if w == 1:
            return self.denoise(noised, sigma, feature)
        if w == 0:
            return self.denoise(noised, sigma, free)
        both = self.denoise(
            torch.cat([noised, noised]), torch.cat([sigma, sigma]), torch.cat([feature, free])
        )
        aimed, aimless = both.chunk(2)
        return aimless + w * (aimed - aimless)

    def path_like(self, other: Path) -> Path:
        """The same signal-to-noise ratios, which this denoiser knows between its extremes."""
        return scaled((other.noise[:-1] / other.signal[:-1]).clamp(SIGMA_MIN, SIGMA_MAX))

    def loss(
        self,
        feature: Float[Tensor, "b d"],
        target: Float[Tensor, "b ka"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Denoising error in units of the network's output (EDM, eq. 8), some without a goal."""
        u = torch.rand(len(target), 2, generator=generator).to(feature)
        sigma = log_logistic(u[:, :1])
        feature = self.parts.without_goal(feature, u[:, 1:] < self.settings.drop)
        noised = target + sigma * noise_of(generator, len(target), target.shape[1], target.device)
        _, out = scales(sigma)
        return F.mse_loss(self.denoise(noised, sigma, feature) / out, target / out)

    def denoise(
        self, x: Float[Tensor, "b ka"], sigma: Float[Tensor, "b 1"], feature: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b ka"]:
        """Combine input and network by their noise level (EDM, eq. 7)."""
        skip, out = scales(sigma)
        enter = (sigma**2 + SIGMA_DATA**2).rsqrt()
        return skip * x + out * self.predict(enter * x, unit_time(sigma), feature)


def scales(sigma: Float[Tensor, "b 1"]) -> tuple[Float[Tensor, "b 1"], Float[Tensor, "b 1"]]:
    """How much of the input and of the network's output make the denoised chunk (EDM, table 1)."""
    total = sigma**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, sigma * SIGMA_DATA * total.rsqrt()


def scaled(sigma: Float[Tensor, " n"]) -> Path:
    """The path through the given noise levels, then to the clean chunk, at unit variance."""
    every = torch.cat([sigma, torch.zeros_like(sigma[:1])])
    signal = (1 + every**2).rsqrt()
    return Path(time=unit_time(sigma), signal=signal, noise=every * signal)


def unit_time(sigma: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The logarithm of a noise level, from 0 (the lowest) to 1."""
    return (sigma.log() - math.log(SIGMA_MIN)) / math.log(SIGMA_MAX / SIGMA_MIN)


def log_logistic(u: Float[Tensor, "b 1"]) -> Float[Tensor, "b 1"]:
    """Noise levels from uniform numbers: log-logistic around sigma_data, cut at the extremes."""
    low, high = (1 / (1 + (SIGMA_DATA / edge) ** (1 / SPREAD)) for edge in (SIGMA_MIN, SIGMA_MAX))
    share = low + u * (high - low)
    return SIGMA_DATA * (SPREAD * torch.logit(share)).exp()
