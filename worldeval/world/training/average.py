"""A running average of weights: what is kept of a training, steadier than its last step."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from worldeval.world.training.processes import shards_of


class Average:
    """An exponential average that forgets the untrained weights: decay min(d, (1 + n) / (10 + n)).

    A fixed decay of .999 keeps a fifth of the first weights over 1,500 steps. Weights that are
    sharded over processes are averaged shard by shard.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.count = 0  # updates so far
        self.values = [each.detach().clone() for each in trained(model)]

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the weights of one more step; the first ones as they are."""
        current = [each.detach() for each in trained(model)]
        keep = min(self.decay, (1 + self.count) / (10 + self.count)) if self.count else 0.0
        if self.count:
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                self.values, current, 1 - keep
            )
        else:
            self.put(self.values, current)
        self.count += 1

    def take(self, values: list[Tensor], *, count: int) -> None:
        """Go on from averaged weights, given whole, of `count` updates."""
        divided = [shards_of(*each) for each in zip(values, self.values, strict=True)]
        self.put(self.values, divided)
        self.count = count

    def copy_to(self, model: nn.Module) -> None:
        """Write the averaged weights into `model`."""
        self.put(trained(model), self.values)

    @staticmethod
    @torch.no_grad()
    def put(target: Iterable[Tensor], values: Iterable[Tensor]) -> None:
        """Copy values into tensors, one by one."""
        for own, given in zip(target, values, strict=True):
            own.copy_(given)


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of a model that training changes, in their order."""
    return [each for each in model.parameters() if each.requires_grad]
