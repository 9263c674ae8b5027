"""What worlds of every family share: the spec, the tokenizer, and the way from pictures and back.

A family's world says how a state begins at latents and how it goes on (see families.py).
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.latents import LatentEpisodes
from worldeval.device import autocast
from worldeval.errors import UserError, did_you_mean
from worldeval.world.branch import rows_of
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.sampler import allowed_steps
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer, index_of

TOKENIZER = "tokenizer."  # what its keys begin with


class World(nn.Module, ABC):
    """A `WorldModel` (see protocol.py) as a torch module of networks and, mostly, a tokenizer.

    What goes in and comes out stays in numpy, wherever the module is. The names of a family's
    networks are the first part of their keys in the weights file.
    """

    remembers = False  # whether the family looks up older frames at all
    retrieve = True  # set False to imagine without looking them up: what memory is worth
    sampler = range(0)  # the numbers of steps that its sampler may take; none: it has none

    def __init__(self, spec: WorldSpec, *, tokenizer: FrameTokenizer | None) -> None:
        super().__init__()
        self._spec = spec
        self.tokenizer = tokenizer
        self._steps = 0

    @property
    def spec(self) -> WorldSpec:
        return self._spec

    @property
    def steps(self) -> int:
        """Steps of the sampler for a frame; 0 where there is no sampler."""
        return self._steps

    @steps.setter
    def steps(self, count: int) -> None:
        self._steps = allowed_steps(self.sampler, count)

    @abstractmethod
    def begin_latents(
        self,
        latents: Float[Tensor, "b v d h w"],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> Any:
        """A state at frames that are encoded already."""

    @abstractmethod
    def observe_latents(
        self, state: Any, latents: Float[Tensor, "b v d h w"], pose: Float32[Array, "b p"]
    ) -> Any:
        """The state with these in the place of its newest latents and pose."""

    @abstractmethod
    def step(self, state: Any, actions: Float32[Array, "b a"]) -> Any:
        """The state one world frame later."""

    @abstractmethod
    def latents(self, state: Any) -> Float32[Array, "b v d h w"]:
        """The newest latents of every view."""

    @abstractmethod
    def pose(self, state: Any) -> Float32[Array, "b p"]:
        """The newest predicted proprioception, in the robot's units."""

    @property
    def device(self) -> torch.device:
        """Where the networks are; states live there too."""
        return next(each.device for each in itertools.chain(self.parameters(), self.buffers()))

    def networks_state(self) -> dict[str, Tensor]:
        """The weights of every network but the tokenizer, which has a file of its own."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith(TOKENIZER)}

    def load_networks(self, state: Mapping[str, Tensor]) -> None:
        """Take what `networks_state` gave; the tokenizer stays as it is.

        Raises:
            RuntimeError: torch's, naming the keys and shapes that do not fit.
        """
        kept = {k: v for k, v in self.state_dict().items() if k.startswith(TOKENIZER)}
        self.load_state_dict({**kept, **state})

    @torch.inference_mode()
    def begin(
        self,
        frames: Mapping[str, UInt8[Array, "b h w 3"]],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> Any:
        """A state at observed frames. Raises UserError for an unknown task, view or size."""
        return self.begin_latents(self.encode(frames, tasks), pose, tasks, seeds)

    def branch(self, state: Any, rows: Int[Array, " n"]) -> Any:
        """Some episodes of the batch, repeated ones included; all draw as the episode would."""
        return rows_of(state, torch.from_numpy(rows))

    @torch.inference_mode()
    def observe(
        self,
        state: Any,
        frames: Mapping[str, UInt8[Array, "b h w 3"]],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
    ) -> Any:
        """The state with what is seen now in the place of its newest frame and pose."""
        return self.observe_latents(state, self.encode(frames, tasks), pose)

    @torch.inference_mode()
    def encode(
        self, frames: Mapping[str, UInt8[Array, "b h w 3"]], tasks: Sequence[str]
    ) -> Float[Tensor, "b v d y x"]:
        """Latents of observed frames of every view."""
        tokenizer = self._need_tokenizer()
        task = self.task_index(tasks)
        per_view = []
        for index, view in enumerate(self.spec.views):
            if view not in frames or frames[view].shape[1:3] != self.spec.size:
                found = {name: given.shape[1:3] for name, given in frames.items()}
                raise UserError(
                    f"The world model needs view '{view}' of {self.spec.size} pixels; got {found}."
                )
            given = torch.from_numpy(frames[view]).to(self.device)
            unit = given.permute(0, 3, 1, 2).float() / 255
            per_view.append(tokenizer.encode(unit, task, torch.full_like(task, index)))
        return torch.stack(per_view, 1).float()

    @torch.inference_mode()
    def render(
        self, latents: Float32[Array, "n v d y x"], tasks: Sequence[str]
    ) -> dict[str, UInt8[Array, "n h w 3"]]:
        """Decode latents into frames, view by view."""
        tokenizer = self._need_tokenizer()
        task = self.task_index(tasks).repeat(len(self.spec.views))
        count = len(latents)
        view = torch.arange(len(self.spec.views), device=self.device).repeat_interleave(count)
        flat = self.tensor(latents).transpose(0, 1).flatten(0, 1)
        with autocast(self.device):
            unit = tokenizer.decode(flat, task, view)
        rgb = (unit.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        parts = rgb.contiguous().cpu().numpy().reshape(len(self.spec.views), count, *rgb.shape[1:])
        return dict(zip(self.spec.views, parts, strict=True))

    def tensor(self, values: Float[Array, "..."]) -> Float[Tensor, "..."]:
        """An array as float32 on this world's device."""
        return torch.from_numpy(np.ascontiguousarray(values)).float().to(self.device)

    def task_index(self, tasks: Sequence[str]) -> Int[Tensor, " n"]:
        """Positions of task names in the spec; every task has the place of the one for all.

        Raises:
            UserError: a task that the world model cannot tell from others, and has to.
        """
        if self.spec.tasks == (ANY_TASK,):
            return torch.zeros(len(tasks), dtype=torch.int64, device=self.device)
        for task in set(tasks) - set(self.spec.tasks):
            hint = did_you_mean(task, self.spec.tasks)
            raise UserError(f"The world model never saw the task '{task}'.{hint}")
        return index_of(tasks, self.spec.tasks).to(self.device)

    def tasks_of(self, data: LatentEpisodes, episodes: Int[Array, " e"]) -> list[str]:
        """The task of each encoded episode: its own instruction where that is kept."""
        if data.instructions is not None:
            return [data.instructions[episode] for episode in episodes]
        return [self.spec.tasks[task] for task in data.task[episodes]]

    def _need_tokenizer(self) -> FrameTokenizer:
        if self.tokenizer is None:
            raise UserError(
                "This world model works on latents that came with its data and has no decoder, so "
                "policies that read pictures cannot act in it. Train one with a tokenizer."
            )
        return self.tokenizer


def generators_of(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator an episode, on the CPU: the same draws on every device."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]
