"""Equations of proximal policy optimisation: advantages, clipped ratio, divergence."""

import torch
from jaxtyping import Float
from torch import Tensor


def gae(
    reward: Float[Tensor, "t b"], value: Float[Tensor, "t b"], *, gamma: float, smoothing: float
) -> Float[Tensor, "t b"]:
    """Generalised advantages (Schulman et al., 2016, eq. 16) of episodes of a fixed length.

    There is no reward after the last step, so its next value is 0.
    """
    advantage = torch.zeros_like(reward)
    running = torch.zeros_like(reward[0])
    after = torch.zeros_like(reward[0])
    for step in reversed(range(len(reward))):
        surprise = reward[step] + gamma * after - value[step]
        running = surprise + gamma * smoothing * running
        advantage[step], after = running, value[step]
    return advantage


def clipped(
    now: Float[Tensor, "*n"],
    before: Float[Tensor, "*n"],
    advantage: Float[Tensor, "*n"],
    clip: float,
) -> Float[Tensor, ""]:
    """The clipped surrogate (Schulman et al., 2017, eq. 7) of log-probabilities, as a loss."""
    ratio = (now - before).exp()
    bounded = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantage, bounded * advantage).mean()


def divergence(now: Float[Tensor, "*n"], before: Float[Tensor, "*n"]) -> float:
    """KL(before | now) from samples of `before`, by Schulman's estimator (r - 1) - log r."""
    log_ratio = (now - before).detach()
    return float((log_ratio.exp() - 1 - log_ratio).mean())


def denoising_discount(decisions: int, gamma: float) -> Float[Tensor, " m"]:
    """Weight of the advantage at each denoising step; the last one, which acts, has weight 1.

    Ren et al., "Diffusion Policy Policy Optimization" (2024), section 4.
    """
    return gamma ** torch.arange(decisions - 1, -1, -1).float()


def standardised(advantage: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Scale to mean 0 and standard deviation 1; unchanged if all values are equal."""
    spread = advantage.std()
    return (advantage - advantage.mean()) / spread if spread > 1e-8 else advantage
