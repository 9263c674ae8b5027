"""Exploration: make several attempts from one start differ."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.improve.recipe import ExploreRecipe
from worldeval.policy.perturb import Perturbation, Perturbed
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.record import Observation
from worldeval.world.protocol import WorldSpec


def exploring(policy: Policy, recipe: ExploreRecipe, spec: WorldSpec) -> Policy:
    """Wrap the policy with noisy, biased and scaled actions, and with rephrased tasks.

    Sizes are in half ranges of the actions of the world with this `spec`.
    """
    if recipe.phrases:
        policy = Rephrased(policy, recipe.phrases)
    how = Perturbation(
        bias_share=recipe.pushed,
        bias_std=recipe.push,
        scale_share=recipe.scaled,
        scale_range=recipe.scale,
        noise_share=recipe.noisy,
        noise_std=recipe.noise,
        pose_share=recipe.misled,
        pose_std=recipe.offset,
    )
    step_dim = recipe.step_dim or spec.action_dim
    return Perturbed(policy, how, step_dim=step_dim, low=spec.low, high=spec.high)


class Rephrased:
    """A policy whose instruction is drawn for every episode, from the episode's seed."""

    def __init__(self, policy: Policy, phrases: Mapping[str, Sequence[str]]) -> None:
        self._policy, self._phrases = policy, phrases
        self._told: tuple[str, ...] = ()

    @property
    def spec(self) -> PolicySpec:
        return self._policy.spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Draw each episode's wording; a task without phrases keeps its own."""
        told = []
        for task, seed in zip(tasks, seeds, strict=True):
            ways = (task, *self._phrases.get(task, ()))
            told.append(ways[int(np.random.default_rng([seed, 5]).integers(len(ways)))])
        self._told = tuple(told)
        self._policy.reset(self._told, seeds)

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        return self._policy.act(observation.each(lambda one: replace(one, tasks=self._told)))
