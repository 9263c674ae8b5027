"""Combine two policies: a convex mixture of their scores at every noise level.

Cao et al., "Compose Your Policies! Improving Diffusion-based or Flow-based Robot Policies via
Test-time Distribution-level Composition" (arXiv 2510.01068). At a given noise level and noised
chunk, score, noise and clean chunk determine each other linearly, so mixing scores with weights
that sum to 1 is the same as mixing the policies' predicted clean chunks. This also holds for
policies that standardise actions differently, and for a diffusion with a flow policy: each follows
its own path through the same signal-to-noise ratios, towards the common mixture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldeval.axes import Array, Float, Float32
from worldeval.errors import UserError
from worldeval.improve.guard import imagined_success
from worldeval.improve.place import Simulation
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.heads.denoise import DenoisingHead, advance, noise_of
from worldeval.policy.network import PolicyNetwork
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation, Start
from worldeval.stats import Estimate


class Composed:
    """A mixture of two diffusion or flow policies; `weight` is that of the first."""

    def __init__(self, first: LearnedPolicy, second: LearnedPolicy, weight: float) -> None:
        """Raises UserError if the two policies cannot be mixed."""
        one, two = first.spec, second.spec
        if (one.action_dim, one.chunk) != (two.action_dim, two.chunk):
            raise UserError(
                f"{one.name} gives chunks of {one.chunk} x {one.action_dim} values, but "
                f"{two.name} of {two.chunk} x {two.action_dim}. Only policies with equal chunks "
                "can be mixed."
            )
        self._heads = [_head(policy) for policy in (first, second)]
        self._policies, self._weights = (first, second), (weight, 1 - weight)
        lead = self._heads[0].path
        self._paths = [lead, self._heads[1].path_like(lead)]
        self._spec = replace(
            one,
            name=f"{weight:g}*{one.name}+{1 - weight:g}*{two.name}",
            lineage=f"{one.lineage}+{two.lineage}",
            views=tuple(dict.fromkeys(one.views + two.views)),
        )

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch; both policies read it, and share each episode's noise."""
        for policy in self._policies:
            policy.reset(tasks, seeds)

    @torch.no_grad()
    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return chunks within the bounds of the first policy's actions, denoised together."""
        networks = [policy.network for policy in self._policies]
        features = [policy.network.encoder(*policy.see(observation)) for policy in self._policies]
        noise = noise_of(
            self._policies[0].generators,
            len(observation),
            self._heads[0].target,
            networks[0].device,
        )
        noised, mixed = [noise, noise], noise
        for step in range(self._paths[0].steps):
            at = torch.full((len(noise),), step, device=noise.device)
            expected = [
                _to_units(network, head.clean(x, at, feature, path))
                for network, head, x, feature, path in zip(
                    networks, self._heads, noised, features, self._paths, strict=True
                )
            ]
            mixed = self._weights[0] * expected[0] + self._weights[1] * expected[1]
            noised = [
                advance(x, at, network.to_target(mixed), path).mean
                for network, x, path in zip(networks, noised, self._paths, strict=True)
            ]
        return networks[0].bounded(mixed).cpu().numpy()


@dataclass(frozen=True, kw_only=True)
class MixtureOutcome:
    """A weight and the mixture's imagined success."""

    weight: float
    imagined: Estimate


def search_weight(
    place: Simulation,
    first: LearnedPolicy,
    second: LearnedPolicy,
    weights: Sequence[float],
    starts: Sequence[Start],
    *,
    seed: int,
) -> list[MixtureOutcome]:
    """Estimate the imagined success of every weight from the same starts."""
    tried = []
    for weight in weights:
        attempts = place.compared(Composed(first, second, weight), starts, seed=seed)
        tried.append(MixtureOutcome(weight=weight, imagined=imagined_success(attempts)))
    return tried


def best_weight(tried: Sequence[MixtureOutcome]) -> float:
    """Return the weight with the highest imagined success; the first one on ties."""
    return max(tried, key=lambda one: one.imagined.value or 0.0).weight


def _head(policy: LearnedPolicy) -> DenoisingHead:
    head = policy.network.head
    if not isinstance(head, DenoisingHead):
        raise UserError(
            f"{policy.spec.name} is a {policy.card.kind} policy, which has no score to mix. "
            "Compose diffusion or flow policies."
        )
    return head


def _to_units(network: PolicyNetwork, target: Float[Tensor, "b ka"]) -> Float[Tensor, "b k a"]:
    """Convert a chunk to the robot's units, unclipped, because it is an intermediate prediction."""
    out = target.unflatten(1, (network.chunk, network.action_dim))
    return out * network.action_scale + network.action_mean
