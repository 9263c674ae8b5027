"""Denoising as a chain of Gaussian steps, shared by diffusion and flow heads.

A noised chunk is x = signal * clean + noise * n with n ~ N(0, 1). Given the network's prediction of
the clean chunk, DDIM (Song et al., "Denoising Diffusion Implicit Models", 2021, eq. 12 and 16) goes
from one noise level to the next. Written with both coefficients, it applies to every Gaussian path:
cosine diffusion (signal^2 + noise^2 = 1) and the straight path of flow matching (signal + noise =
1), on which a step without noise is the Euler step.
"""

from abc import abstractmethod
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

FREQUENCIES = 8  # of the embedding of the network's time input

Noise = list[torch.Generator] | torch.Generator  # one per episode, or one for all


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """The noise levels of sampling, from the noisiest to the clean chunk, which is the last."""

    time: Float[Tensor, " n"]  # the network's time input at each level but the last
    signal: Float[Tensor, " levels"]  # one more than there are steps
    noise: Float[Tensor, " levels"]

    @property
    def steps(self) -> int:
        return len(self.time)


@dataclass(frozen=True, kw_only=True, eq=False)
class Warm:
    """A predicted chunk to start from, and the number of denoising steps that it saves."""

    chunk: Float[Tensor, "b ka"]
    skip: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaussian:
    """The distribution of the next chunk of a chain, with independent dimensions."""

    mean: Float[Tensor, "b ka"]
    std: Float[Tensor, "b 1"]

    def log_prob(self, x: Float[Tensor, "b ka"]) -> Float[Tensor, " b"]:
        """Log-density, summed over dimensions."""
        return self.log_probs(x).sum(-1)

    def log_probs(self, x: Float[Tensor, "b ka"]) -> Float[Tensor, "b ka"]:
        """Log-density of every dimension."""
        return torch.distributions.Normal(
            self.mean,
            self.std,
            validate_args=False,  # which waits for the device
        ).log_prob(x)


class DenoisingHead(nn.Module):
    """A head that samples action chunks by denoising, with one small network for every level.

    What the network predicts (a velocity, v) differs between heads, and so does their path.
    """

    def __init__(
        self, width: int, hidden: int, target: int, network: nn.Module | None = None
    ) -> None:
        """`network` takes the place of the MLP; it reads what `predict` joins."""
        super().__init__()
        self.target = target  # numbers in a chunk
        self.layers = network or layers(width + target + 2 * FREQUENCIES, hidden, target)

    @property
    def path(self) -> Path:
        """The noise levels of sampling, on the head's device."""
        return Path(**{each.name: getattr(self, f"_{each.name}") for each in fields(Path)})

    @path.setter
    def path(self, path: Path) -> None:
        # They follow from the recipe, so they are not stored with the weights.
        for each in fields(Path):
            self.register_buffer(f"_{each.name}", getattr(path, each.name), persistent=False)

    def predict(
        self, x: Float[Tensor, "b ka"], time: Float[Tensor, "b 1"], feature: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b ka"]:
        """Apply the network to noised chunks; `time` in [0, 1] is that of their level."""
        return self.layers(torch.cat([x, embedded(time), feature], dim=-1))

    @abstractmethod
    def clean_at(
        self,
        x: Float[Tensor, "b ka"],
        time: Float[Tensor, "b 1"],
        signal: Float[Tensor, "b 1"],
        noise: Float[Tensor, "b 1"],
        feature: Float[Tensor, "b d"],
    ) -> Float[Tensor, "b ka"]:
        """Predict the clean chunk from `x` at a level of its path."""

    @abstractmethod
    def path_like(self, other: Path) -> Path:
        """This head's path through another path's signal-to-noise ratios."""

    def clean(
        self,
        x: Float[Tensor, "b ka"],
        step: Int[Tensor, " b"],
        feature: Float[Tensor, "b d"],
        path: Path | None = None,
    ) -> Float[Tensor, "b ka"]:
        """Apply `clean_at` at the start of the given steps of the path."""
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

        `eta` is DDIM's: 0 is without noise, 1 is ancestral sampling (DDPM). `floor` is the smallest
        standard deviation, and does not change the mean.
        """
        return advance(x, step, self.clean(x, step, feature), self.path, eta=eta, floor=floor)

    def act(
        self,
        feature: Float[Tensor, "b d"],
        generators: Noise,
        warm: Warm | None = None,
    ) -> Float[Tensor, "b ka"]:
        """Denoise each episode's own noise, or a warm start, without further noise."""
        x = noise_of(generators, len(feature), self.target, feature.device)
        first = 0
        if warm is not None:
            first = min(warm.skip, self.path.steps - 1)
            # Real-time iteration: the previous plan, noised to the level where denoising starts.
            x = self.path.signal[first] * warm.chunk + self.path.noise[first] * x
        for step in range(first, self.path.steps):
            x = self.move(x, step, feature)
        return x

    def move(
        self, x: Float[Tensor, "b ka"], step: int, feature: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b ka"]:
        """Take one sampling step without noise."""
        return self.transition(x, torch.full((len(x),), step, device=x.device), feature).mean


def advance(
    x: Float[Tensor, "b ka"],
    step: Int[Tensor, " b"],
    clean: Float[Tensor, "b ka"],
    path: Path,
    *,
    eta: float = 0.0,
    floor: float = 0.0,
) -> Gaussian:
    """Take DDIM's step on any Gaussian path, given the predicted clean chunk."""
    here, there = (
        (path.signal[step], path.noise[step]),
        (path.signal[step + 1], path.noise[step + 1]),
    )
    (a, b), (a_next, b_next) = ([part[:, None] for part in level] for level in (here, there))
    # For x = (a / a_next) x_next + more noise, given clean: the variance of x_next (DDPM's beta~).
    variance = (b_next / b) ** 2 * (b**2 - (a / a_next * b_next) ** 2)
    std = eta * variance.clamp_min(0).sqrt()
    direction = (b_next**2 - std**2).clamp_min(0).sqrt()
    mean = a_next * clean + direction * (x - a * clean) / b
    return Gaussian(mean=mean, std=std.clamp_min(floor))


def noise_of(
    source: Noise, rows: int, size: int, device: torch.device | None = None
) -> Float[Tensor, "b _"]:
    """Draw standard normal numbers: each row from its own generator, or all from one.

    They are drawn where the generators are and moved to `device`.
    """
    if isinstance(source, torch.Generator):
        return torch.randn(rows, size, generator=source, device=source.device).to(device)
    drawn = [torch.randn(size, generator=each, device=each.device) for each in source]
    return torch.stack(drawn).to(device)


def embedded(time: Float[Tensor, "b 1"]) -> Float[Tensor, "b _"]:
    """Sine and cosine features of a time in [0, 1], the slowest over half a period."""
    octaves = 2.0 ** torch.arange(-1, FREQUENCIES - 1, device=time.device)
    angle = time * torch.pi * octaves
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def layers(width: int, hidden: int, target: int) -> nn.Sequential:
    """Build the small MLP of a head."""
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.SiLU(),
        nn.Linear(hidden, hidden),
        nn.SiLU(),
        nn.Linear(hidden, target),
    )
