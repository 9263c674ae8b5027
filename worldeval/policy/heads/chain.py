"""Policies with log-probabilities of their samples: the actors of policy gradients.

An action chunk is sampled in `decisions` Gaussian steps, each with a log-probability. For a
diffusion or flow head these are its last denoising steps (DPPO: Ren et al., "Diffusion Policy
Policy Optimization", 2024: a Markov decision process within every environment step); for a
regression head, one Gaussian around its output.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldeval.errors import UserError
from worldeval.policy.heads.bc import BcHead
from worldeval.policy.heads.denoise import DenoisingHead, Gaussian, Noise, noise_of
from worldeval.policy.network import PolicyNetwork


@runtime_checkable
class Actor(Protocol):
    """How an action chunk is sampled, given features."""

    @property
    def decisions(self) -> int:
        """Random steps per chunk."""
        ...

    def begin(self, feature: Float[Tensor, "b d"], noise: Noise) -> Float[Tensor, "b ka"]:
        """Return the initial value of the first decision."""
        ...

    def decide(
        self, x: Float[Tensor, "b ka"], decision: Int[Tensor, " b"], feature: Float[Tensor, "b d"]
    ) -> Gaussian:
        """The distribution of the next link; at the last decision, of the chunk itself."""
        ...


class DenoisingActor:
    """The last denoising steps of a head. The earlier steps are deterministic."""

    def __init__(self, head: DenoisingHead, *, last_steps: int, eta: float, floor: float) -> None:
        self.head, self.eta, self.floor = head, eta, floor
        self.decisions = min(last_steps, head.path.steps)
        self._first = head.path.steps - self.decisions

    def begin(self, feature: Float[Tensor, "b d"], noise: Noise) -> Float[Tensor, "b ka"]:
        """Denoise each episode's noise up to the first decision."""
        x = noise_of(noise, len(feature), self.head.target, feature.device)
        for step in range(self._first):
            x = self.head.move(x, step, feature)
        return x

    def decide(
        self, x: Float[Tensor, "b ka"], decision: Int[Tensor, " b"], feature: Float[Tensor, "b d"]
    ) -> Gaussian:
        """Take DDIM's step with noise."""
        return self.head.transition(
            x, decision + self._first, feature, eta=self.eta, floor=self.floor
        )


class GaussianActor:
    """One decision: a Gaussian around a regression head's chunk."""

    decisions = 1

    def __init__(self, head: BcHead, *, std: float) -> None:
        self.head, self.std = head, std

    def begin(self, feature: Float[Tensor, "b d"], noise: Noise) -> Float[Tensor, "b ka"]:
        """Return zeros: nothing is decided yet."""
        with torch.no_grad():
            return torch.zeros_like(self.head.layers(feature))

    def decide(
        self, x: Float[Tensor, "b ka"], decision: Int[Tensor, " b"], feature: Float[Tensor, "b d"]
    ) -> Gaussian:
        """A Gaussian around the regressed chunk, whatever `x` is."""
        mean = self.head.layers(feature)
        return Gaussian(mean=mean, std=mean.new_full((len(mean), 1), self.std))


def actor_of(network: PolicyNetwork, *, last_steps: int, eta: float, floor: float) -> Actor:
    """Build a network's actor. Raises UserError for a head without log-probabilities."""
    head: nn.Module = network.head
    if isinstance(head, DenoisingHead):
        return DenoisingActor(head, last_steps=last_steps, eta=eta, floor=floor)
    if isinstance(head, BcHead):
        return GaussianActor(head, std=floor)
    raise UserError(
        f"A {type(head).__name__} has no log-probabilities, which policy gradients need."
    )


def draw(
    actor: Actor, feature: Float[Tensor, "b d"], noise: Noise
) -> tuple[Float[Tensor, "b links ka"], Float[Tensor, "b m"]]:
    """Sample a chain of `decisions` + 1 links, the chunk last, and each log-probability."""
    x = actor.begin(feature, noise)
    links, logs = [x], []
    for decision in range(actor.decisions):
        choice = actor.decide(x, torch.full((len(x),), decision, device=x.device), feature)
        x = choice.mean + choice.std * noise_of(noise, *x.shape, x.device)
        logs.append(choice.log_prob(x))
        links.append(x)
    return torch.stack(links, 1), torch.stack(logs, 1)


def choices(
    actor: Actor, links: Float[Tensor, "b links ka"], feature: Float[Tensor, "b d"]
) -> list[Gaussian]:
    """The actor's current distribution of every link after the first."""
    at = torch.arange(actor.decisions, device=links.device)[:, None].expand(-1, len(links))
    return [
        actor.decide(links[:, decision], at[decision], feature)
        for decision in range(actor.decisions)
    ]


@dataclass(frozen=True, kw_only=True)
class LogProbs:
    """How the log-probabilities of a chunk's numbers become one for every decision."""

    mean: bool = False  # whether they are averaged; else they are summed, which is their density's
    bounds: tuple[float, float] | None = None  # to which each is clipped before


SUMMED = LogProbs()


def log_probs(
    actor: Actor,
    links: Float[Tensor, "b links ka"],
    feature: Float[Tensor, "b d"],
    how: LogProbs = SUMMED,
) -> Float[Tensor, "b m"]:
    """The actor's current log-probability of every decision of sampled chains."""
    out = []
    for index, one in enumerate(choices(actor, links, feature)):
        each = one.log_probs(links[:, index + 1])
        if how.bounds is not None:
            each = each.clamp(*how.bounds)
        out.append(each.mean(-1) if how.mean else each.sum(-1))
    return torch.stack(out, 1)
