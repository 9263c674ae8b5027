"""Adapt a large network by updates of low rank, which need little memory.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021): the weights stay, and to
each chosen matrix a product of two thin matrices is added, which starts at zero. Only these are
trained, so that gradients and the optimiser's state are small. Afterwards the products are added to
the weights: the result has the names and the speed of the network that it was made from.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize

from worldeval.axes import Float
from worldeval.errors import UserError


class LowRank(nn.Module):
    """W + up down, where up starts at zero."""

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Float[torch.Tensor, "o i"]) -> Float[torch.Tensor, "o i"]:
        return weight + (self.up @ self.down).to(weight.dtype)


def adapted(net: nn.Module, layers: Sequence[str], rank: int, *, also: Sequence[str] = ()) -> None:
    """Freeze `net` in place, except low-rank updates of the linear layers whose names end in one of
    `layers`, and the parts named in `also`, which are trained as a whole.

    Raises:
        UserError: no layer has such a name, or a rank is larger than a layer.
    """
    net.requires_grad_(False)
    found = [
        (name, each)
        for name, each in net.named_modules()
        if isinstance(each, nn.Linear) and name.endswith(tuple(layers))
    ]
    if not found:
        raise UserError(f"No linear layer of the network ends in {', '.join(layers)}.")
    for name, each in found:
        outputs, inputs = each.weight.shape
        if rank > min(outputs, inputs):
            raise UserError(
                f"The layer {name} is {outputs} x {inputs}; a rank of {rank} is no low one. Set a "
                f"rank of at most {min(outputs, inputs)}."
            )
        update = LowRank(outputs, inputs, rank).to(each.weight.device)
        parametrize.register_parametrization(each, "weight", update)
    for part in also:
        net.get_submodule(part).requires_grad_(True)


def merged(net: nn.Module) -> None:
    """Add the updates to the weights in place; every weight can be trained again."""
    for each in list(net.modules()):
        if parametrize.is_parametrized(each, "weight"):
            parametrize.remove_parametrizations(each, "weight", leave_parametrized=True)
    net.requires_grad_(True)
