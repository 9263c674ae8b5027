"""The value function: an imagined episode's expected future reward, from the world's features."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldeval.axes import Array, Float32, UInt8
from worldeval.record import Rollout
from worldeval.world.protocol import WorldModel, WorldSpec
from worldeval.world.walk import Walk, stepped, walk


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
        """Standardise by the first batch of features; constant ones are left unchanged."""
        self.mean.copy_(features.mean(0))
        spread = features.std(0)
        self.std.copy_(torch.where(spread > 1e-4, spread, torch.ones_like(spread)))

    def forward(self, features: Float[Tensor, "*n f"]) -> Float[Tensor, "*n"]:
        """Predict the value of every state."""
        # A feature that was nearly constant at first must not dominate later.
        unit = ((features - self.mean) / self.std).clamp(-5, 5)
        return self.layers(unit)[..., 0]


class Tapped:
    """Wrap a world model and record the features of every state that it passes through.

    They are the world's own if it has a method `features` (a recurrent state-space model's
    deterministic and stochastic state), else its latents and proprioception.
    """

    def __init__(self, world: WorldModel) -> None:
        self._world = world
        self._features = getattr(world, "features", None)
        self.noted: list[Float[Tensor, "b f"]] = []

    @property
    def spec(self) -> WorldSpec:
        return self._world.spec

    def begin(
        self,
        frames: Mapping[str, UInt8[Array, "b h w 3"]],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> Any:
        """Begin a state at observed frames; forgets the recorded features."""
        self.noted.clear()
        return self._note(self._world.begin(frames, pose, tasks, seeds))

    def step(self, state: Any, actions: Float32[Array, "b a"]) -> Any:
        return self._note(self._world.step(state, actions))

    def walk(self, state: Any, actions: Float32[Array, "b t a"]) -> Walk:
        """Advance several frames; a world with its own features is stepped one by one."""
        if self._features is not None:
            return stepped(self, state, actions)
        walked = walk(self._world, state, actions)
        for step in range(actions.shape[1]):
            self._keep(walked.latents[:, step], walked.pose[:, step])
        return walked

    def latents(self, state: Any) -> Float32[Array, "b v d h w"]:
        return self._world.latents(state)

    def pose(self, state: Any) -> Float32[Array, "b p"]:
        return self._world.pose(state)

    def render(
        self, latents: Float32[Array, "n v d y x"], tasks: Sequence[str]
    ) -> dict[str, UInt8[Array, "n h w 3"]]:
        return self._world.render(latents, tasks)

    def _note(self, state: Any) -> Any:
        if self._features is not None:
            self.noted.append(self._features(state).detach().cpu().float())
        else:
            self._keep(self._world.latents(state), self._world.pose(state))
        return state

    def _keep(self, latents: Float32[Array, "b v d h w"], pose: Float32[Array, "b p"]) -> None:
        flat = np.concatenate([latents.reshape(len(pose), -1), pose], 1)
        self.noted.append(torch.from_numpy(flat.astype(np.float32)))


def features_of(
    noted: Sequence[Float[Tensor, "b f"]],
    rollouts: Sequence[Rollout],
    tasks: tuple[str, ...],
    *,
    every: int,
) -> Float[Tensor, "t b all"]:
    """Stack the critic's inputs at each call of the policy, `every` frames apart.

    These are the world's features, the task and the elapsed share of the episode, because little
    reward is left near its end. The last of `noted` is the final state, without a policy call.
    """
    frames = torch.arange(0, len(noted) - 1, every)
    which = torch.eye(len(tasks))[[tasks.index(rollout.task) for rollout in rollouts]]
    time = (frames / (len(noted) - 1))[:, None, None].expand(-1, len(rollouts), 1)
    seen = torch.stack([noted[int(frame)] for frame in frames])
    return torch.cat([seen, which.expand(len(frames), -1, -1), time], -1)
