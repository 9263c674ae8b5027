"""Policies whose answers can be worked out by hand, with LeRobot's queues and ensembling.

A network's action at place j of a chunk is what was seen, weighted by how long ago, plus j / 100,
plus noise. Post-processing doubles it.
"""

from collections import deque
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LATER = 0.5  # weight of a moment beside the one after it


class StandIn(nn.Module):
    """What all of them share."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.ones(1))
        self.asked = 0  # networks are asked; shared between episodes, as weights are
        self.reset()

    @classmethod
    def from_pretrained(cls, folder: str | Path, config: Any) -> "StandIn":
        print("Loading weights from local directory")  # as LeRobot does
        return cls(config)

    def reset(self) -> None:
        raise NotImplementedError

    def network(self, moments: list[dict[str, Tensor]], length: int) -> Tensor:
        """(b, length, a) for moments, the newest last."""
        total = torch.zeros(len(moments[-1]["observation.state"]))
        for back, moment in enumerate(reversed(moments)):
            seen = moment["observation.state"].sum(1)
            for key in self.config.image_features:
                seen = seen + moment[key].mean((1, 2, 3))
            total = total + LATER**back * seen
        steps = torch.arange(length) / 100
        width = self.config.output_features["action"].shape[0]
        drawn = self.config.noise * torch.randn(len(total), length, width)
        return self.weight * (total[:, None, None] + steps[None, :, None] + drawn)


class Act(StandIn):
    """A chunk at a time from one moment; or one step at a time, averaged over chunks."""

    def reset(self) -> None:
        if self.config.temporal_ensemble_coeff is not None:
            self.temporal_ensembler = Ensembler(self.config.temporal_ensemble_coeff)
        else:
            self._action_queue = deque(maxlen=self.config.n_action_steps)

    def select_action(self, batch: dict[str, Tensor]) -> Tensor:
        if self.config.temporal_ensemble_coeff is not None:
            return self.temporal_ensembler.update(self.network([batch], self.config.chunk_size))
        if not self._action_queue:
            chunk = self.network([batch], self.config.chunk_size)[:, : self.config.n_action_steps]
            self._action_queue.extend(chunk.transpose(0, 1))
        return self._action_queue.popleft()


class Ensembler:
    """The average, by exp(-coefficient * age), of all that was ever planned for this step."""

    def __init__(self, coefficient: float) -> None:
        self.coefficient = coefficient
        self.plans: list[Tensor] = []

    def update(self, chunk: Tensor) -> Tensor:
        self.plans = [plan[:, 1:] for plan in self.plans if plan.shape[1] > 1] + [chunk]
        weights = torch.exp(-self.coefficient * torch.arange(len(self.plans)))
        now = torch.stack([plan[:, 0] for plan in self.plans])
        return (weights[:, None, None] * now).sum(0) / weights.sum()


class Diffusion(StandIn):
    """Looks at the last `n_obs_steps` moments and draws."""

    kept = "n_action_steps"

    def reset(self) -> None:
        self._queues = {
            "seen": deque(maxlen=self.config.n_obs_steps),
            "action": deque(maxlen=getattr(self.config, self.kept)),
        }

    def select_action(self, batch: dict[str, Tensor]) -> Tensor:
        seen, planned = self._queues["seen"], self._queues["action"]
        seen.append(batch)
        while len(seen) < self.config.n_obs_steps:
            seen.append(batch)
        if not planned:
            planned.extend(self.network(list(seen), int(planned.maxlen or 1)).transpose(0, 1))
        return planned.popleft()


class Vqbet(Diffusion):
    """The same, but its chunk has another name."""

    kept = "action_chunk_size"
