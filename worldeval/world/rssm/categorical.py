"""The stochastic state: independent categorical variables, sampling and divergence.

DreamerV3 (arXiv 2301.04104), equation 3: the divergence of posterior and prior is used twice, once
to train the prior and once, with a lower weight, to keep the posterior predictable.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from worldeval.axes import Float


def mixed(logits: Float[Tensor, "*n g c"], unimix: float) -> Float[Tensor, "*n g c"]:
    """Log-probabilities of (1 - unimix) softmax + unimix uniform: none is ever fully certain."""
    chance = logits.float().softmax(-1)
    return ((1 - unimix) * chance + unimix / logits.shape[-1]).log()


def draw(
    log_chance: Float[Tensor, "*n g c"], uniform: Float[Tensor, "*n g c"] | None
) -> Float[Tensor, "*n g c"]:
    """Draw one-hot samples with the gradient of the probabilities (straight-through).

    `uniform` holds numbers in [0, 1), one per class; the Gumbel-max trick turns them into a sample
    that is independent of the other rows of the batch. None selects the most likely classes.
    """
    score = log_chance if uniform is None else log_chance + gumbel(uniform)
    hard = F.one_hot(score.argmax(-1), log_chance.shape[-1]).float()
    chance = log_chance.exp()
    return hard + (chance - chance.detach())


def gumbel(uniform: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Convert uniform noise to standard Gumbel noise."""
    tiny = torch.finfo(uniform.dtype).tiny
    return -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log()


def divergence(
    left: Float[Tensor, "*n g c"], right: Float[Tensor, "*n g c"]
) -> Float[Tensor, "*n"]:
    """KL(left || right) in nats, summed over the variables."""
    return (left.exp() * (left - right)).sum((-2, -1))


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """Both divergence terms per row, each clipped below at the free nats."""

    dynamics: Float[Tensor, "*n"]  # trains only the prior
    representation: Float[Tensor, "*n"]  # trains only the posterior


def balanced(
    posterior: Float[Tensor, "*n g c"], prior: Float[Tensor, "*n g c"], *, free_nats: float
) -> Balanced:
    """Compute the divergence twice, with the gradient stopped on either side (equation 3)."""
    return Balanced(
        dynamics=divergence(posterior.detach(), prior).clamp_min(free_nats),
        representation=divergence(posterior, prior.detach()).clamp_min(free_nats),
    )
