"""Behaviour cloning: regression from features to an action chunk."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from worldeval.policy.heads.denoise import Noise, Warm, layers


class BcHead(nn.Module):
    """A small MLP. L1 by default, because the median of several ways to act is one of them."""

    def __init__(self, width: int, hidden: int, target: int, loss: Literal["l1", "mse"]) -> None:
        super().__init__()
        self.distance = F.l1_loss if loss == "l1" else F.mse_loss
        self.layers = layers(width, hidden, target)

    def loss(
        self,
        feature: Float[Tensor, "b d"],
        target: Float[Tensor, "b ka"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean distance to the demonstrated chunk; the generator is not used."""
        return self.distance(self.layers(feature), target)

    def act(
        self,
        feature: Float[Tensor, "b d"],
        generators: Noise,
        warm: Warm | None = None,
    ) -> Float[Tensor, "b ka"]:
        """Return the regressed chunk; it is deterministic and ignores a warm start."""
        return self.layers(feature)
