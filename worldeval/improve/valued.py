"""Policies that ask a critic at every call: a base policy's chunks, chosen or changed by value.

The base policy stays as it is. What is learned (a critic, and for some methods a small actor) is
stored beside it, and the result is ranked like any other policy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldeval.axes import Array, Float32
from worldeval.checked_weights import fill, load_checked, save_checked
from worldeval.improve.features import Standing
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.heads.denoise import Noise
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

WEIGHTS = "value.safetensors"


@runtime_checkable
class Deciding(Protocol):
    """How a base policy's features become a chunk, given the critic's state."""

    def __call__(
        self,
        state: Float[Tensor, "b f"],
        feature: Float[Tensor, "b d"],
        noise: Noise,
    ) -> Float[Tensor, "b ka"]:
        """Return standardised chunks."""
        ...


class Valued:
    """A base policy whose chunks are decided on with a critic."""

    def __init__(
        self, base: LearnedPolicy, standing: Standing, decide: Deciding, *, name: str, step: int = 0
    ) -> None:
        self._base, self._standing, self._decide = base, standing, decide
        lineage = f"{base.card.lineage}-{name}"
        self._spec = replace(base.spec, name=f"{lineage}/step-{step}", lineage=lineage, step=step)

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes."""
        self._base.reset(tasks, seeds)
        self._standing.begin(tasks, seeds)

    @torch.no_grad()
    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return action chunks within the bounds of the demonstrated actions."""
        network = self._base.network
        state = self._standing(observation)
        feature = network.encoder(*self._base.see(observation))
        chunk = self._decide(state, feature, self._base.generators)
        return network.to_actions(chunk.to(network.device)).cpu().numpy()


def store(folder: Path, modules: Mapping[str, nn.Module]) -> None:
    """Write the weights of a critic and what was learned with it."""
    state = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    save_checked(folder / WEIGHTS, state)


def restore(folder: Path, modules: Mapping[str, nn.Module]) -> None:
    """Fill modules with stored weights. Raises UserError where they do not fit."""
    state = load_checked(folder / WEIGHTS)
    for name, module in modules.items():
        prefix = f"{name}."
        own = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
        fill(module, own, folder / WEIGHTS)


def state_size(folder: Path) -> int:
    """Numbers of a state that the stored critic reads."""
    return len(load_checked(folder / WEIGHTS)["critic.state_mean"])
