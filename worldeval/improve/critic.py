"""The value head: what an imagined episode is still going to earn, by the world's features."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldeval.record import Rollout


class Critic(nn.Module):
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
        """Standardise by the first features seen; those that never change count as they are."""
        self.mean.copy_(features.mean(0))
        spread = features.std(0)
        self.std.copy_(torch.where(spread > 1e-4, spread, torch.ones_like(spread)))

    def forward(self, features: Float[Tensor, "*n f"]) -> Float[Tensor, "*n"]:
        """The value of every state."""
        # A feature that was nearly constant at first must not rule later on.
        unit = ((features - self.mean) / self.std).clamp(-5, 5)
        return self.layers(unit)[..., 0]


def features_of(
    rollouts: Sequence[Rollout], tasks: tuple[str, ...], *, every: int
) -> Float[Tensor, "t b f"]:
    """What the critic sees at each call of the policy, `every` frames apart.

    The world model's latents and proprioception, the start's task and the share of time gone: an
    episode that ends has less to earn.
    """
    latents = np.stack([np.asarray(rollout.latents) for rollout in rollouts], 1)
    poses = np.stack([rollout.pose for rollout in rollouts], 1)
    frames = np.arange(0, len(poses) - 1, every)
    which = np.eye(len(tasks))[[tasks.index(rollout.task) for rollout in rollouts]]
    time = np.broadcast_to(
        frames[:, None, None] / (len(poses) - 1), (len(frames), len(rollouts), 1)
    )
    parts = (
        latents[frames].reshape(len(frames), len(rollouts), -1),
        poses[frames],
        np.broadcast_to(which, (len(frames), *which.shape)),
        time,
    )
    return torch.from_numpy(np.concatenate(parts, -1).astype(np.float32))
