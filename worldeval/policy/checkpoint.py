"""Checkpoints of worldeval policies: `<set>/<lineage>/step-<n>/policy.{safetensors,json}`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Float32, UInt8
from worldeval.checked_weights import described, fill, load_checked, save_checked
from worldeval.config import build_known
from worldeval.data.adapt import resized
from worldeval.device import pick_device
from worldeval.errors import UserError, did_you_mean
from worldeval.files import read_object, write_json
from worldeval.policy.batches import to_images
from worldeval.policy.heads.denoise import DenoisingHead, Warm
from worldeval.policy.network import PolicyNetwork
from worldeval.policy.protocol import PolicySpec
from worldeval.policy.recipe import PolicyRecipe
from worldeval.policy.sizes import Sizes
from worldeval.record import Observation

WEIGHTS, CARD = "policy.safetensors", "policy.json"


@dataclass(frozen=True, kw_only=True)
class PolicyCard:
    """Metadata of a checkpoint, readable without loading its weights."""

    kind: str  # its head
    lineage: str
    step: int
    seed: int
    tasks: tuple[str, ...]
    note: str
    misleads: bool  # whether action error was expected to rank this lineage's checkpoints badly
    demos: Mapping[str, int]  # task -> number of imitated episodes
    train_loss: float
    validation_mse: float  # mean over tasks; see validation.py
    validation_mse_tasks: Mapping[str, float]
    seconds: float  # training time up to this step


class LearnedPolicy:
    """A trained checkpoint as a `Policy`."""

    def __init__(
        self, network: PolicyNetwork, recipe: PolicyRecipe, sizes: Sizes, card: PolicyCard
    ) -> None:
        self.network = network.eval()
        self.recipe, self.sizes, self.card = recipe, sizes, card
        self._task_index = {task: index for index, task in enumerate(sizes.tasks)}
        self._spec = PolicySpec(
            name=f"{card.lineage}/step-{card.step}",
            lineage=card.lineage,
            step=card.step,
            views=recipe.views,
            action_dim=sizes.action_dim,
            chunk=recipe.chunk,
            history=recipe.sight.moments,
        )
        self._generators: list[torch.Generator] = []
        self._last: Float32[Array, "b k a"] | None = None  # the previous chunk, for a warm start
        self._goal: Tensor | None = None  # images, of a policy that is conditioned on a goal

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch; every episode's noise comes from its own seed."""
        for task in tasks:
            self._index(task)
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self._last = self._goal = None

    def aim(self, frames: Mapping[str, UInt8[Array, "b h w 3"]]) -> None:
        """Give every episode's goal, until the next reset; a policy without goals ignores it."""
        views = [self._sized(frames[view]) for view in self._spec.views]
        given = torch.from_numpy(np.stack(views, axis=1)).to(self.network.device)
        self._goal = to_images(given)

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return action chunks within the bounds of the demonstrated actions."""
        seen = self.see(observation)
        chunk = self.network.act(*seen, self._generators, self._warm()).cpu().numpy()
        self._last = chunk
        return chunk

    def see(self, observation: Observation) -> tuple[Tensor, Tensor, Tensor]:
        """Prepare the network's inputs on its device: images, pose, task, a row per episode.

        Moments of a history follow each other along the axes of views and of poses, the newest
        last, and a goal's views come after them.
        """
        if len(observation) != len(self._generators):
            raise ValueError(
                f"{len(observation)} episodes observed, but reset started {len(self._generators)}"
            )
        moments = observation.window
        if len(moments) != self._spec.history:
            raise ValueError(
                f"{self._spec.name} reads {self._spec.history} moments, but got {len(moments)}"
            )
        views = [
            self._sized(moment.frames[view]) for moment in moments for view in self._spec.views
        ]
        task = torch.tensor([self._index(task) for task in observation.tasks])
        poses = [np.asarray(moment.pose, np.float32) for moment in moments]
        pose = torch.from_numpy(np.concatenate(poses, axis=1))
        # Frames travel as bytes, a quarter of what they are as numbers.
        home = self.network.device
        frames = torch.from_numpy(np.stack(views, axis=1)).to(home)
        task, images = task.to(home), to_images(frames)
        if self.network.goals is not None:
            if self._goal is None:
                newest = frames[:, -len(self._spec.views) :].to(torch.uint8)
                self._goal = to_images(self.network.goals.choose(newest, task))
            images = torch.cat([images, self._goal], 1)
        return images, pose.to(home), task

    @property
    def generators(self) -> list[torch.Generator]:
        """Each episode's source of noise, from its own seed."""
        return self._generators

    def _sized(self, frames: Any) -> Array:
        """Resize images to the size of those it was trained on."""
        given = np.asarray(frames)
        if given.shape[1:3] == self.sizes.image or given.dtype != np.uint8:
            return given
        return resized(given, self.sizes.image)

    def _warm(self) -> Warm | None:
        """Shift the last chunk by its executed frames; its last frame is repeated."""
        how, head = self.recipe.warm, self.network.head
        if self._last is None or not how.skip or not isinstance(head, DenoisingHead):
            return None
        moved = np.minimum(np.arange(self._last.shape[1]) + how.executed, self._last.shape[1] - 1)
        last = torch.from_numpy(self._last[:, moved]).to(self.network.device)
        chunk = self.network.to_target(last)
        return Warm(chunk=chunk, skip=round(how.skip * head.path.steps))

    def _index(self, task: str) -> int:
        if task not in self._task_index:
            raise UserError(
                f"Policy {self._spec.name} was not trained on task '{task}'."
                f"{did_you_mean(task, self._task_index)}"
            )
        return self._task_index[task]


def save(
    folder: Path, network: PolicyNetwork, recipe: PolicyRecipe, sizes: Sizes, card: PolicyCard
) -> None:
    """Write a checkpoint in half precision; the card comes last and marks it as complete."""
    state = network.state_dict()
    save_checked(folder / WEIGHTS, {key: value.half() for key, value in state.items()})
    content = {"card": asdict(card), "sizes": asdict(sizes), "recipe": asdict(recipe)}
    write_json(folder / CARD, content)


def load(folder: Path) -> LearnedPolicy:
    """Read a checkpoint folder. A large network is put on a GPU if there is one."""
    kept = _read(folder)
    with described(folder / CARD):
        network = PolicyNetwork(kept.recipe, kept.sizes)
    tensors = load_checked(folder / WEIGHTS)
    state = {key: value.float() for key, value in tensors.items()}
    fill(network, state, folder / WEIGHTS)
    if network.large:
        network.to(pick_device())
    return LearnedPolicy(network, kept.recipe, kept.sizes, kept.card)


def read_card(folder: Path) -> PolicyCard:
    """Read a checkpoint's card."""
    return _read(folder).card


def is_checkpoint(folder: Path) -> bool:
    """Whether the folder holds a worldeval checkpoint."""
    return (folder / CARD).is_file()


@dataclass(frozen=True, kw_only=True)
class _Kept:
    card: PolicyCard
    sizes: Sizes
    recipe: PolicyRecipe


def _read(folder: Path) -> _Kept:
    """Parse a complete card. Raises UserError if it is invalid."""
    return build_known(_Kept, read_object(folder / CARD), where=str(folder / CARD))
