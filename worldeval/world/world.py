"""Base class of the worlds of every family: spec, tokenizer, encoding and rendering.

Each family defines how a state begins from latents and how it advances (see families.py).
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
from worldeval.device import autocast, compiled, gpu_autocast, on_host
from worldeval.errors import UserError, did_you_mean
from worldeval.world.branch import rows_of
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.recipe import allowed_steps
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer, index_of
from worldeval.world.walk import Walk

TOKENIZER = "tokenizer."  # prefix of its keys in the state dict


class World(nn.Module, ABC):
    """A `WorldModel` (see protocol.py) as a torch module of networks and, usually, a tokenizer.

    Inputs and outputs are NumPy arrays on whatever device the module is. A state has the `latents`
    and `poses` of all its frames. The names of a family's networks are the first part of their keys
    in the weights file.
    """

    remembers = False  # whether the family retrieves older frames at all
    retrieve = True  # False: imagine without retrieving them, to measure what memory contributes
    sampler = range(0)  # the numbers of steps its sampler accepts; empty if it has no sampler

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
        """Sampler steps per frame; 0 if there is no sampler."""
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
        """Begin a state at frames that are already encoded."""

    @abstractmethod
    def observe_latents(
        self, state: Any, latents: Float[Tensor, "b v d h w"], pose: Float32[Array, "b p"]
    ) -> Any:
        """Replace the state's newest latents and pose."""

    @abstractmethod
    def step(self, state: Any, actions: Float32[Array | Tensor, "b a"]) -> Any:
        """Advance the state by one world frame."""

    @abstractmethod
    def latents(self, state: Any) -> Float32[Array, "b v d h w"]:
        """Return the newest latents of every view."""

    @abstractmethod
    def pose(self, state: Any) -> Float32[Array, "b p"]:
        """Return the newest predicted proprioception, in the robot's units."""

    def hot(self) -> list[tuple[nn.Module, str]]:
        """Methods in which imagination spends its time, with the networks that have them."""
        return []

    def compile_networks(self) -> None:
        """Compile what imagination spends its time in (`worldeval.device.compiled`)."""
        for network, name in self.hot():
            setattr(network, name, compiled(getattr(network, name), self.device, graphs=True))

    @property
    def device(self) -> torch.device:
        """The device of the networks and of the states."""
        return next(each.device for each in itertools.chain(self.parameters(), self.buffers()))

    def networks_state(self) -> dict[str, Tensor]:
        """Weights of every network except the tokenizer, which has its own file."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith(TOKENIZER)}

    def load_networks(self, state: Mapping[str, Tensor]) -> None:
        """Load the result of `networks_state`; the tokenizer is not changed.

        Raises:
            RuntimeError: from torch; names the keys and shapes that do not fit.
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
        """Begin a state at observed frames. Raises UserError for an unknown task, view or size."""
        return self.begin_latents(self.encode(frames, tasks), pose, tasks, seeds)

    def branch(self, state: Any, rows: Int[Array, " n"]) -> Any:
        """Select episodes of the batch, possibly repeated; each draws as the original would."""
        return rows_of(state, torch.from_numpy(rows))

    @torch.inference_mode()
    def observe(
        self,
        state: Any,
        frames: Mapping[str, UInt8[Array, "b h w 3"]],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
    ) -> Any:
        """Replace the state's newest frame and pose with what is observed now."""
        return self.observe_latents(state, self.encode(frames, tasks), pose)

    @torch.inference_mode()
    def encode(
        self, frames: Mapping[str, UInt8[Array, "b h w 3"]], tasks: Sequence[str]
    ) -> Float[Tensor, "b v d y x"]:
        """Encode observed frames of every view into latents."""
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
            with gpu_autocast(self.device):
                found = tokenizer.encode(unit, task, torch.full_like(task, index))
            per_view.append(found.float())
        return torch.stack(per_view, 1)

    @torch.inference_mode()
    def walk(self, state: Any, actions: Float32[Array, "b t a"]) -> Walk:
        """Advance frame by frame, and wait for the device only at the end."""
        begin = state.latents.shape[1]
        for action in self.tensor(actions).unbind(1):
            state = self.step(state, action)
        latents, pose = on_host(state.latents[:, begin:], state.poses[:, begin:])
        return Walk(state=state, latents=latents, pose=pose)

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
        (drawn,) = on_host(rgb.contiguous())
        parts = drawn.reshape(len(self.spec.views), count, *rgb.shape[1:])
        return dict(zip(self.spec.views, parts, strict=True))

    def tensor(self, values: Float[Array, "..."] | Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Convert an array to a float32 tensor on this world's device."""
        if isinstance(values, Tensor):
            return values.float().to(self.device)
        return torch.from_numpy(np.ascontiguousarray(values)).float().to(self.device)

    def task_index(self, tasks: Sequence[str]) -> Int[Tensor, " n"]:
        """Return task indices in the spec; a world with one common task maps every task to it.

        Raises:
            UserError: the world model distinguishes tasks and has not seen this one.
        """
        if self.spec.tasks == (ANY_TASK,):
            return torch.zeros(len(tasks), dtype=torch.int64, device=self.device)
        for task in set(tasks) - set(self.spec.tasks):
            hint = did_you_mean(task, self.spec.tasks)
            raise UserError(f"The world model was not trained on the task '{task}'.{hint}")
        return index_of(tasks, self.spec.tasks).to(self.device)

    def tasks_of(self, data: LatentEpisodes, episodes: Int[Array, " e"]) -> list[str]:
        """Return the task of each encoded episode: its own instruction if that was stored."""
        if data.instructions is not None:
            return [data.instructions[episode] for episode in episodes]
        return [self.spec.tasks[task] for task in data.task[episodes]]

    def _need_tokenizer(self) -> FrameTokenizer:
        if self.tokenizer is None:
            raise UserError(
                "This world model was trained on precomputed latents and has no decoder, so "
                "policies that read images cannot act in it. Train one with a tokenizer."
            )
        return self.tokenizer
