"""Compressed scales: symlog, and the two-hot code of a number over exponentially spaced bins.

DreamerV3 (arXiv 2301.04104), "Robust predictions": one head predicts rewards of any magnitude, with
gradients that do not depend on the magnitude.
"""

import torch
from torch import Tensor, nn

from worldeval.axes import Float

LIMIT = 20.0  # symlog of the outermost bins


def symlog(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """sign(x) ln(1 + |x|): close to x near zero, logarithmic far from it."""
    return x.sign() * x.abs().log1p()


def symexp(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The inverse of `symlog`."""
    return x.sign() * x.abs().expm1()


class TwoHot(nn.Module):
    """Encode numbers as categorical distributions over bins symexp(-20) ... symexp(20)."""

    bins: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        if count < 3 or count % 2 == 0:
            raise ValueError(f"bins must be odd and at least 3, so that one is zero; got {count}")
        half = symexp(torch.linspace(0, LIMIT, count // 2 + 1))
        self.register_buffer("bins", torch.cat([-half.flip(0), half[1:]]), persistent=False)

    def encode(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n k"]:
        """Weights on the two bins around `x`, larger for the nearer one; they sum to 1."""
        x = torch.minimum(torch.maximum(x, self.bins[0]), self.bins[-1])
        above = torch.searchsorted(self.bins, x).clamp(1, len(self.bins) - 1)
        low, high = self.bins[above - 1], self.bins[above]
        share = ((x - low) / (high - low))[..., None]
        code = torch.zeros(*x.shape, len(self.bins), device=x.device)
        code.scatter_(-1, (above - 1)[..., None], 1 - share)
        return code.scatter_(-1, above[..., None], share)

    def decode(self, logits: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
        """Return the mean of the distribution."""
        chance = logits.float().softmax(-1)
        # Bins of opposite sign are paired before summing, so that a symmetric distribution, such as
        # that of a new head, gives exactly zero despite bins of 10^8.
        half = len(self.bins) // 2
        surplus = chance - chance.flip(-1)
        return (surplus[..., half + 1 :] * self.bins[half + 1 :]).sum(-1)

    def loss(self, logits: Float[Tensor, "*n k"], x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Cross-entropy between the distribution and the code of `x`, in nats."""
        return -(self.encode(x) * logits.float().log_softmax(-1)).sum(-1)
