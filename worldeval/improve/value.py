"""The value function: an imagined episode's expected future reward, from the world's features."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class StateValue(nn.Module):
    """A small MLP over latents, proprioception, task and time."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, hidden: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 1),
        )
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit_normaliser(self, features: Float[Tensor, "n f"]) -> None:
        """Standardise by the first batch of features; constant ones are left unchanged."""
        self.mean.copy_(features.mean(0))
        spread = features.std(0)
        self.std.copy_(torch.where(spread > 1e-4, spread, torch.ones_like(spread)))

    def forward(self, features: Float[Tensor, "*n f"]) -> Float[Tensor, "*n"]:
        """Predict the value of every state."""
        # A feature that was nearly constant at first must not dominate later.
        unit = ((features - self.mean) / self.std).clamp(-5, 5)
        return self.layers(unit)[..., 0]
