"""A moving average of weights, the result of training: steadier than the last step's weights."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from worldeval.training.processes import shards_of


class Average:
    """torch's average of a model's trained weights; sharded weights are averaged shard by shard.

    The decay is min(`decay`, (1 + n) / (10 + n)) after n updates, which forgets the initial
    weights: a fixed decay of .999 keeps a fifth of the untrained weights over 1,500 steps. With a
    `decay` of 0, the result is the current weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.count = 0  # updates so far
        self._own = nn.ParameterList(trained(model))
        self._average = AveragedModel(self._own, multi_avg_fn=self._mix)

    @property
    def values(self) -> list[Tensor]:
        """The averaged weights, in the model's order."""
        return [each.detach() for each in self._average.parameters()]

    def update(self) -> None:
        """Add the model's weights after one more step; the first ones are copied."""
        self._average.update_parameters(self._own)
        self.count += 1

    def take(self, values: list[Tensor], *, count: int) -> None:
        """Continue from whole averaged weights after `count` updates."""
        divided = [shards_of(*each) for each in zip(values, self.values, strict=True)]
        put(self.values, divided)
        self.count = count
        self._average.n_averaged.fill_(count)

    def copy_to(self, model: nn.Module) -> None:
        """Copy the averaged weights into `model`."""
        put(trained(model), self.values)

    @torch.no_grad()
    def _mix(self, averaged: Any, current: Any, _: Any) -> None:
        # Counted here: torch's own count would have to be fetched from the device at every step.
        keep = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(averaged, current, 1 - keep)  # pyright: ignore[reportPrivateImportUsage]


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of a model that are trained, in order."""
    return [each for each in model.parameters() if each.requires_grad]


@torch.no_grad()
def put(target: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Copy values into tensors, one by one."""
    for own, given in zip(target, values, strict=True):
        own.copy_(given)
