"""A slowly moving copy of a network, which gives targets that are not trained themselves."""

from copy import deepcopy

import torch
from torch import Tensor, nn


class Follower(nn.Module):
    """The moving average of another network's weights (a "mean teacher", a JEPA's target encoder).

    The decay is min(`decay`, (1 + n) / (10 + n)) after n updates, which forgets the initial
    weights. Its weights are kept in checkpoints, so that training goes on from them.
    """

    count: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.network = deepcopy(network).requires_grad_(False)
        self.register_buffer("count", torch.zeros(()))

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Move towards the current weights of `network`; buffers are copied."""
        keep = torch.clamp((1 + self.count) / (10 + self.count), max=self.decay)
        for own, given in zip(self.network.parameters(), network.parameters(), strict=True):
            own.copy_(torch.lerp(given, own, keep.to(own.dtype)))
        for own, given in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(given)
        self.count += 1

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Tensor:
        """Apply the copy, without gradients."""
        return self.network(*inputs)
