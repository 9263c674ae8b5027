"""Denoising as a chain of Gaussian steps: what diffusion and flow heads share.

A noised chunk is x = signal * clean + noise * n with n ~ N(0, 1). Given what the network takes for
the clean chunk, DDIM (Song et al., "Denoising Diffusion Implicit Models", 2021, eq. 12 and 16) goes
from one noise level to the next; written with both coefficients it serves every Gaussian path:
cosine diffusion (signal^2 + noise^2 = 1) and the straight path of flow matching (signal + noise =
1), on which a step without noise is the Euler step.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Noise = list[torch.Generator] | torch.Generator  # one for each episode, or one for all


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """The noise levels of sampling, from the noisiest to the clean chunk, which is the last."""

    time: Float[Tensor, " n"]  # what the network is told at each level but the last
    signal: Float[Tensor, " levels"]  # one more than there are steps
    noise: Float[Tensor, " levels"]

    @property
    def steps(self) -> int:
        return len(self.time)


@dataclass(frozen=True, kw_only=True, eq=False)
class Warm:
    """A chunk expected at this call, and the steps of denoising that it saves."""

    chunk: Float[Tensor, "b ka"]
    skip: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaussian:
    """The next chunk of a chain, before it is drawn: independent dimensions."""

    mean: Float[Tensor, "b ka"]
    std: Float[Tensor, "b 1"]

    def log_prob(self, x: Float[Tensor, "b ka"]) -> Float[Tensor, " b"]:
        """The density's logarithm, summed over dimensions."""
        return torch.distributions.Normal(self.mean, self.std).log_prob(x).sum(-1)


class DenoisingHead(nn.Module):
    """A head that draws action chunks by denoising."""

    target: int  # numbers in a chunk
    path: Path

    @abstractmethod
    def clean_at(
        self,
        x: Float[Tensor, "b ka"],
        time: Float[Tensor, "b 1"],
        signal: Float[Tensor, "b 1"],
        noise: Float[Tensor, "b 1"],
        feature: Float[Tensor, "b d"],
    ) -> Float[Tensor, "b ka"]:
        """The clean chunk that the network expects behind `x` at a level of its path."""

    @abstractmethod
    def path_like(self, other: Path) -> Path:
        """This head's path through the signal-to-noise ratios of another one."""

    def clean(
        self,
        x: Float[Tensor, "b ka"],
        step: Int[Tensor, " b"],
        feature: Float[Tensor, "b d"],
        path: Path | None = None,
    ) -> Float[Tensor, "b ka"]:
        """`clean_at` before the given steps of the path."""
        path = path or self.path
        time, signal, noise = (
            level[step][:, None] for level in (path.time, path.signal, path.noise)
        )
        return self.clean_at(x, time, signal, noise, feature)

    def transition(
        self,
        x: Float[Tensor, "b ka"],
        step: Int[Tensor, " b"],
        feature: Float[Tensor, "b d"],
        *,
        eta: float = 0.0,
        floor: float = 0.0,
    ) -> Gaussian:
        """The distribution of the next chunk: step i goes from level i to level i + 1.

        `eta` is DDIM's: 0 is without noise, 1 is ancestral sampling (DDPM). `floor` is the least
        standard deviation, which leaves the mean as it is.
        """
        return advance(x, step, self.clean(x, step, feature), self.path, eta=eta, floor=floor)

    def act(
        self,
        feature: Float[Tensor, "b d"],
        generators: Noise,
        warm: Warm | None = None,
    ) -> Float[Tensor, "b ka"]:
        """Denoise without further noise, from each episode's own; or from a warm start."""
        x = noise_of(generators, len(feature), self.target)
        first = 0
        if warm is not None:
            first = min(warm.skip, self.path.steps - 1)
            # Real-time iteration: the last plan, noised to where denoising goes on.
            x = self.path.signal[first] * warm.chunk + self.path.noise[first] * x
        for step in range(first, self.path.steps):
            x = self.move(x, step, feature)
        return x

    def move(
        self, x: Float[Tensor, "b ka"], step: int, feature: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b ka"]:
        """One step of sampling without noise."""
        return self.transition(x, torch.full((len(x),), step), feature).mean


def advance(
    x: Float[Tensor, "b ka"],
    step: Int[Tensor, " b"],
    clean: Float[Tensor, "b ka"],
    path: Path,
    *,
    eta: float = 0.0,
    floor: float = 0.0,
) -> Gaussian:
    """DDIM's step on any Gaussian path, given the clean chunk that is expected."""
    here, there = (
        (path.signal[step], path.noise[step]),
        (path.signal[step + 1], path.noise[step + 1]),
    )
    (a, b), (a_next, b_next) = ([part[:, None] for part in level] for level in (here, there))
    # Of x = (a / a_next) x_next + more noise, given clean: the variance of x_next (DDPM's beta~).
    variance = (b_next / b) ** 2 * (b**2 - (a / a_next * b_next) ** 2)
    std = eta * variance.clamp_min(0).sqrt()
    direction = (b_next**2 - std**2).clamp_min(0).sqrt()
    mean = a_next * clean + direction * (x - a * clean) / b
    return Gaussian(mean=mean, std=std.clamp_min(floor))


def noise_of(source: Noise, rows: int, size: int) -> Float[Tensor, "b _"]:
    """Standard normal numbers: each row from its own generator, or all from one."""
    if isinstance(source, torch.Generator):
        return torch.randn(rows, size, generator=source)
    return torch.stack([torch.randn(size, generator=generator) for generator in source])


def embedded(time: Float[Tensor, "b 1"], frequencies: int) -> Float[Tensor, "b _"]:
    """Sines and cosines of a time in [0, 1], the slowest over half a turn."""
    octaves = 2.0 ** torch.arange(-1, frequencies - 1, device=time.device)
    angle = time * torch.pi * octaves
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def layers(width: int, hidden: int, target: int) -> nn.Sequential:
    """The small MLP of a head."""
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.SiLU(),
        nn.Linear(hidden, hidden),
        nn.SiLU(),
        nn.Linear(hidden, target),
    )
