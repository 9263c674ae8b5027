"""Noise levels as in EDM, for Stable Video Diffusion's v-prediction with data of unit variance.

Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (arXiv
2206.00364): x0 = c_skip x + c_out F(c_in x, c_noise), weighted so that F's error weighs the same at
every sigma. With v-prediction c_out is negative (as in diffusers' `EulerDiscreteScheduler`).
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldeval.axes import Float
from worldeval.world.ctrl_world.recipe import RHO, SIGMA_MIN, EdmRecipe

# (noisy frames, their sigma) -> the predicted clean frames
Denoise = Callable[[Float[Tensor, "b f d h w"], Float[Tensor, " b"]], Float[Tensor, "b f d h w"]]


@dataclass(frozen=True, kw_only=True)
class Scales:
    """The coefficients for one sigma per row, each shaped to multiply frames b f d h w."""

    skip: Float[Tensor, "b 1 1 1 1"]
    out: Float[Tensor, "b 1 1 1 1"]
    into: Float[Tensor, "b 1 1 1 1"]
    noise: Float[Tensor, " b"]
    weight: Float[Tensor, "b 1 1 1 1"]

    @classmethod
    def at(cls, sigma: Float[Tensor, " b"]) -> "Scales":
        """Compute Karras et al., table 1, with sigma_data 1 and v-prediction's sign."""
        s = sigma.view(-1, 1, 1, 1, 1)
        total = s.square() + 1
        return cls(
            skip=1 / total,
            out=-s / total.sqrt(),
            into=1 / total.sqrt(),
            noise=sigma.log() / 4,
            weight=total / s.square(),
        )


def training_sigmas(
    count: int, recipe: EdmRecipe, generator: torch.Generator
) -> Float[Tensor, " b"]:
    """Draw noise levels for a batch; their logarithm is normally distributed."""
    return (recipe.mean + recipe.std * torch.randn(count, generator=generator)).exp()


def sampling_sigmas(recipe: EdmRecipe, steps: int) -> Float[Tensor, " s"]:
    """Return `steps` levels from sigma_max down to sigma_min, then 0 (equation 5)."""
    low, high = SIGMA_MIN ** (1 / RHO), recipe.sigma_max ** (1 / RHO)
    levels = (high + torch.linspace(0, 1, steps, dtype=torch.float64) * (low - high)) ** RHO
    return torch.cat([levels, levels.new_zeros(1)]).float()


def consistent(
    denoise: Denoise,
    noise: Callable[[], Float[Tensor, "b f d h w"]],
    recipe: EdmRecipe,
    *,
    steps: int,
    levels: int,
) -> Float[Tensor, "b f d h w"]:
    """Sample from a distilled network: each step predicts clean frames, and noises them again.

    Song et al., "Consistency Models" (2023), algorithm 1, at `steps` of the `levels` it knows.
    """
    sigmas = sampling_sigmas(recipe, levels)
    clean: Tensor | float = 0.0
    for step in range(steps):
        fresh = noise()
        sigma = sigmas[step * levels // steps].to(fresh)
        clean = denoise(clean + sigma * fresh, sigma.expand(len(fresh)))
    assert isinstance(clean, Tensor)
    return clean


def sample(
    denoise: Denoise, noise: Float[Tensor, "b f d h w"], recipe: EdmRecipe, *, steps: int
) -> Float[Tensor, "b f d h w"]:
    """Integrate unit noise to clean frames in `steps` Euler steps (algorithm 1's first half)."""
    sigmas = sampling_sigmas(recipe, steps).to(noise)
    x = noise * sigmas[0]
    for now, then in itertools.pairwise(sigmas):
        clean = denoise(x, now.expand(len(x)))
        x = x + (then - now) * (x - clean) / now
    return x
