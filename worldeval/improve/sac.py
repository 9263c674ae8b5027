"""Soft actor-critic (SAC) that begins at a given policy, in imagination.

Haarnoja et al., "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905): critics learn
the return with the entropy of what follows (eq. 5), an actor learns to maximise both (eq. 7), and
the temperature may follow a target entropy (eq. 18). Settings of the critic give its relatives:
`normalised` layers with a distributional head (after FlashSAC), one distributional critic with
aleatoric `pessimism` (after STAC, arXiv 2601.00737), truncated mixtures of quantiles (TQC).

What differs:
- The actor's mean begins at the chunk that a given policy proposes, which it also reads. SAC begins
  at random.
- The actions are executed parts of chunks, and returns are n-step; of their entropy, only that of
  the last action counts.
- FlashSAC's scaling of weights and STAC's dropout are left out.
- The critic sees the world model's features, with the task and time.
- When the policy is judged, it acts by the actor's mean.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldeval.improve.features import Standing
from worldeval.improve.memory import Memory
from worldeval.improve.offpolicy import ProposedChunks, Valuing
from worldeval.improve.offpolicy_recipe import SacRecipe
from worldeval.improve.place import Simulation
from worldeval.improve.soft import SoftLearner, SquashedGaussian, soft_learner
from worldeval.improve.units import ChunkUnits, units_of
from worldeval.improve.valued import Valued, store
from worldeval.policy.build import PolicyHead
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.heads.denoise import Noise


class Soft:
    """Takes the actor's mean around what a head proposes."""

    def __init__(self, head: PolicyHead, actor: SquashedGaussian, units: ChunkUnits) -> None:
        self.head, self.actor, self.units = head, actor, units

    def __call__(
        self, state: Float[Tensor, "b f"], feature: Float[Tensor, "b d"], noise: Noise
    ) -> Float[Tensor, "b ka"]:
        """Return a chunk for every state."""
        chunk = self.head.act(feature, noise).detach().cpu()
        given = self.units.bounded(self.units.first(chunk))
        mean, _ = self.actor(state, given, self.units.squashed(given))
        return self.units.replaced(chunk, self.units.stretched(mean.tanh()))


class Sac:
    """Learns a critic and a Gaussian actor that begins at a policy."""

    def __init__(
        self, origin: LearnedPolicy, recipe: SacRecipe, *, place: Simulation, seed: int
    ) -> None:
        self.base, self.recipe = origin, recipe
        self.units = units_of(origin.network, replan_every=place.replan_every)
        self.valuing = Valuing(recipe, self.units, seed=seed)
        self._place, self._seed = place, seed
        self._soft: SoftLearner | None = None

    def policy(self) -> LearnedPolicy | Valued:
        """The policy as it is now: the base policy until something was learned."""
        if self._soft is None:
            return self.base
        return softened(self.base, self._soft.actor, self.units, self.recipe, self._place, 0)

    def learn(self, proposed: ProposedChunks, rng: np.random.Generator) -> Mapping[str, float]:
        """Fit critic and actor, in turns."""
        memory, recipe = proposed.memory, self.recipe
        if self._soft is None:
            critic = self.valuing.ready(memory).critic
            self._soft = soft_learner(critic, self.units, recipe, self._seed)
        losses, entropy = [], torch.zeros(())
        for number in range(max(recipe.critic_steps, recipe.actor_steps)):
            rows = proposed.rows(recipe.critic.batch, rng)
            drawn = torch.from_numpy(rng.integers(proposed.chunks.shape[1], size=len(rows)))
            if number < recipe.critic_steps:
                after = memory.after[rows]
                given = self.units.first(proposed.chunks[after, drawn])
                losses.append(self._evaluate(self._soft, memory, rows, given, rng))
            if number < recipe.actor_steps:
                given = self.units.first(proposed.chunks[rows, drawn])
                entropy = self._improve(self._soft, memory.state[rows], given, rng)
        found = {
            "critic_loss": float(torch.stack(losses).mean()) if losses else 0.0,
            "entropy": float(entropy),
            "alpha": float(self._soft.alpha),
        }
        return {**found, "steps": recipe.actor_steps}

    def keep(self, folder: Path, number: int) -> Valued:
        """Write the critic and the actor."""
        assert self._soft is not None, "nothing was learned"
        critic, actor = deepcopy((self.valuing.critic, self._soft.actor))
        folder.mkdir(parents=True, exist_ok=True)
        store(folder, {"critic": critic, "actor": actor})
        return softened(self.base, actor, self.units, self.recipe, self._place, number)

    def _evaluate(
        self,
        soft: SoftLearner,
        memory: Memory,
        rows: Tensor,
        given: Float[Tensor, "n ka"],
        rng: np.random.Generator,
    ) -> Tensor:
        """Take a step of the critic (eq. 5); its next actions are the actor's samples."""
        noise = torch.from_numpy(rng.standard_normal(given.shape)).float()
        state = memory.state[memory.after[rows]]
        with torch.no_grad():
            drawn, log_prob = soft.actor.sample(state, given, self.units.squashed(given), noise)
        action = self.units.stretched(drawn)
        return self.valuing.step(memory, rows, action, bonus=-soft.alpha * log_prob)

    def _improve(
        self,
        soft: SoftLearner,
        state: Float[Tensor, "n f"],
        given: Float[Tensor, "n ka"],
        rng: np.random.Generator,
    ) -> Tensor:
        """Take a step of the actor (eq. 7)."""
        noise = torch.from_numpy(rng.standard_normal(given.shape)).float()
        critic = self.valuing.critic
        return soft.step(
            lambda drawn: critic.value(state, self.units.stretched(drawn)),
            state,
            given,
            self.units.squashed(given),
            noise,
        )


def softened(
    base: LearnedPolicy,
    actor: SquashedGaussian,
    units: ChunkUnits,
    recipe: SacRecipe,
    place: Simulation,
    number: int,
) -> Valued:
    """Build the policy of an actor."""
    standing = Standing(place.world, horizon=place.horizon, executed=units.executed)
    decide = Soft(base.network.head, actor, units)
    return Valued(base, standing, decide, name=recipe.suffix, step=number)
