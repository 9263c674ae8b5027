"""Imagined episodes as experience: sampled chunks, their log-probabilities and rewards."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldeval.axes import Array, Float32
from worldeval.improve.features import Tapped, features_of
from worldeval.improve.place import Judging, Simulation
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.heads.chain import Actor, draw
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation, Rollout, Start
from worldeval.rollout.loop import imagine

Seen = tuple[Tensor, Tensor, Tensor]  # images, pose and task, as network inputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Experience:
    """Episodes of one iteration; t counts calls of the policy."""

    seen: Seen  # each with t * b rows
    feature: Float[Tensor, "n d"]  # of the policy; n = t * b rows
    links: Float[Tensor, "n links ka"]
    log_prob: Float[Tensor, "n m"]
    state: Float[Tensor, "t b f"]  # the critic's input
    reward: Float[Tensor, "t b"]
    probability: Float[Tensor, " b"]  # of success, according to the judge at the end


class Drawing:
    """A policy that acts by its actor's samples and records them, where its network is."""

    def __init__(self, policy: LearnedPolicy, actor: Actor) -> None:
        self._policy, self._actor = policy, actor
        self.seen: list[Seen] = []
        self.features: list[Tensor] = []
        self.links: list[Tensor] = []
        self.log_probs: list[Tensor] = []

    @property
    def spec(self) -> PolicySpec:
        return self._policy.spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch and forget the previous one."""
        self._policy.reset(tasks, seeds)
        for memory in (self.seen, self.features, self.links, self.log_probs):
            memory.clear()

    @torch.no_grad()
    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return a chunk for every episode."""
        network = self._policy.network
        seen = self._policy.see(observation)
        feature = network.encoder(*seen)
        links, log_prob = draw(self._actor, feature, self._policy.generators)
        self.seen.append(seen)
        self.features.append(feature)
        self.links.append(links)
        self.log_probs.append(log_prob)
        return network.to_actions(links[:, -1]).cpu().numpy()


def collect(
    place: Simulation,
    policy: LearnedPolicy,
    actor: Actor,
    starts: Sequence[Start],
    seeds: Sequence[int],
) -> Experience:
    """Imagine one episode from every start, sampling every action.

    The reward of a call is the increase of the highest success probability so far, over the frames
    up to the next call. Summed over an episode, it is the judge's own verdict minus the start's
    value, and it is given when it is earned.
    """
    drawing, world = Drawing(policy, actor), Tapped(place.world)
    rollouts = imagine(
        world,
        drawing,
        starts,
        horizon=place.horizon,
        replan_every=place.replan_every,
        seeds=seeds,
    )
    every = min(place.replan_every, policy.spec.chunk)
    highest = highest_so_far(place.judge, rollouts)
    images, pose, task = (torch.cat(part) for part in zip(*drawing.seen, strict=True))
    state = features_of(world.noted, rollouts, world.spec.tasks, every=every)
    return Experience(
        seen=(images, pose, task),
        feature=torch.cat(drawing.features),
        links=torch.cat(drawing.links),
        log_prob=torch.cat(drawing.log_probs),
        state=state.to(images.device),
        reward=torch.from_numpy(rewards(highest, every=every)).to(images.device),
        probability=torch.from_numpy(highest[-1]),
    )


def highest_so_far(judge: Judging, rollouts: Sequence[Rollout]) -> Float32[Array, "t b"]:
    """The highest success probability up to every frame, including the first."""
    return np.maximum.accumulate(judge.over_time(rollouts).T, 0).astype(np.float32)


def rewards(highest: Float32[Array, "frames b"], *, every: int) -> Float32[Array, "t b"]:
    """The increase between consecutive calls; the last call's reward extends to the end."""
    calls = np.arange(0, len(highest) - 1, every)
    ends = np.append(calls[1:], len(highest) - 1)
    return highest[ends] - highest[calls]
