"""Equations of proximal policy optimisation: advantages, clipped ratio, divergence."""

import math

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
    clip: float | Float[Tensor, " m"],
) -> Float[Tensor, ""]:
    """The clipped surrogate (Schulman et al., 2017, eq. 7) of log-probabilities, as a loss.

    `clip` may differ along the last axis.
    """
    ratio = (now - before).exp()
    width = torch.as_tensor(clip).to(ratio)
    bounded = torch.minimum(torch.maximum(ratio, 1 - width), 1 + width)
    return -torch.minimum(ratio * advantage, bounded * advantage).mean()


def clip_along(
    decisions: int, *, first: float, last: float, rate: float = 3.0
) -> Float[Tensor, " m"]:
    """Clips that grow exponentially along the chain, from its noisiest decision to the last one.

    As in the published code of DPPO: first + (last - first) (e^(rate t) - 1) / (e^rate - 1), where
    t goes from 0 to 1. A chain of one decision has the last clip.
    """
    t = torch.linspace(0, 1, decisions) if decisions > 1 else torch.ones(1)
    return first + (last - first) * torch.expm1(rate * t) / math.expm1(rate)


class RewardScale:
    """Divides rewards by the standard deviation of the discounted returns seen so far.

    As in the published code of DPPO (and others of PPO): returns are those accumulated up to every
    step, over all iterations; scaled rewards are clipped to `most`.
    """

    def __init__(self, gamma: float, most: float = 10.0) -> None:
        self.gamma, self.most = gamma, most
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def __call__(self, reward: Float[Tensor, "t b"]) -> Float[Tensor, "t b"]:
        """Take the episodes into account, and scale their rewards."""
        total, sums = torch.zeros_like(reward[0]), []
        for now in reward:
            total = self.gamma * total + now
            sums.append(total)
        seen = torch.stack(sums).double().flatten()
        count, mean = len(seen), float(seen.mean())
        every, apart = self._count + count, mean - self._mean
        # Joins the moments of two samples (Chan et al., 1979).
        self._squares += float((seen - mean).square().sum())
        self._squares += apart**2 * self._count * count / every
        self._mean += apart * count / every
        self._count = every
        deviation = max(self._squares / every, 1e-8) ** 0.5
        return (reward / deviation).clamp(-self.most, self.most)


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
