"""Features and chunks whose right answers are known, and a short training."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from worldeval.policy.heads.parts import Parts

PLAIN = Parts(seen=4, task=2, pose=2)
CHUNK, ACTION = 4, 2
TARGET = CHUNK * ACTION


def generators(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + seed) for seed in range(count)]


def learn(
    head: nn.Module,
    draw: Callable[[torch.Generator], tuple[Tensor, ...]],
    *,
    steps: int,
    rate: float = 3e-3,
    seed: int = 0,
) -> nn.Module:
    """Train a head on batches of features and chunks (and what else its loss reads)."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(head.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    head.train()
    for _ in range(steps):
        feature, target, *more = draw(generator)
        loss = head.loss(feature, target, generator, *more)  # pyright: ignore[reportCallIssue]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return head.eval()


def two_ways(generator: torch.Generator, rows: int = 128) -> tuple[Tensor, Tensor]:
    """Half of the chunks go left-down, half right-up, whatever the feature."""
    side = torch.where(torch.rand(rows, 1, generator=generator) < 0.5, -1.0, 1.0)
    noise = 0.05 * torch.randn(rows, TARGET, generator=generator)
    return torch.randn(rows, PLAIN.width, generator=generator), side.expand(-1, TARGET) + noise
