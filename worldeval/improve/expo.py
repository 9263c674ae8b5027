"""EXPO: a small Gaussian policy edits what an expressive policy proposes.

Dong et al., "EXPO: Stable Reinforcement Learning with Expressive Policies" (arXiv 2507.07986): the
base policy is trained by imitation alone. An edit policy adds to each of its samples a bounded
change, trained for value and entropy; the on-the-fly policy takes the action with the highest value
among the samples and their edits, when it acts and in the critic's targets.

What differs:
- The base policy stays as it is (the paper goes on imitating what was experienced).
- The actions are chunks, and only their executed part is edited.
- When the policy is judged, edits are the mean of the edit policy; the paper draws them.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldeval.improve.critic import QCritic
from worldeval.improve.features import Standing
from worldeval.improve.offpolicy import ProposedChunks, Valuing
from worldeval.improve.offpolicy_recipe import ExpoRecipe
from worldeval.improve.place import Simulation
from worldeval.improve.soft import SoftLearner, SquashedGaussian, soft_learner
from worldeval.improve.units import ChunkUnits, units_of
from worldeval.improve.valued import Valued, store
from worldeval.policy.build import PolicyHead
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.heads.denoise import Noise


class Edit:
    """Takes the best of a head's samples and of their edits."""

    def __init__(
        self,
        head: PolicyHead,
        critic: QCritic,
        actor: SquashedGaussian,
        units: ChunkUnits,
        recipe: ExpoRecipe,
    ) -> None:
        self.head, self.critic, self.actor = head, critic, actor
        self.units, self.recipe = units, recipe

    def __call__(
        self, state: Float[Tensor, "b f"], feature: Float[Tensor, "b d"], noise: Noise
    ) -> Float[Tensor, "b ka"]:
        """Choose a chunk for every state."""
        drawn = [self.head.act(feature, noise).detach().cpu() for _ in range(self.recipe.samples)]
        chunks = torch.stack(drawn, 1)
        first = self.units.bounded(self.units.first(chunks))
        every = self.candidates(state, first, None)
        states = state[:, None].expand(-1, every.shape[1], -1)
        best = self.critic.value(states, every).argmax(1)
        row = torch.arange(len(state))
        return self.units.replaced(chunks[row, best % chunks.shape[1]], every[row, best])

    def candidates(
        self,
        state: Float[Tensor, "n f"],
        chunks: Float[Tensor, "n m ka"],
        noise: Float[Tensor, "n m ka"] | None,
    ) -> Float[Tensor, "n both ka"]:
        """Chunks and their edits, drawn with `noise` or else the mean ones."""
        count = chunks.shape[1]
        flat, states = chunks.flatten(0, 1), state.repeat_interleave(count, 0)
        mean, std = self.actor(states, flat)
        before = mean if noise is None else mean + std * noise.flatten(0, 1)
        edits = self.edited(flat, before.tanh()).unflatten(0, (-1, count))
        return torch.cat([chunks, edits], 1)

    def edited(
        self, chunks: Float[Tensor, "n ka"], change: Float[Tensor, "n ka"]
    ) -> Float[Tensor, "n ka"]:
        """Add a change in (-1, 1), within the actions' bounds."""
        return self.units.bounded(chunks + self.recipe.reach * change)


class Expo:
    """Learns a critic and edits of a policy, which stays as it is."""

    def __init__(
        self, origin: LearnedPolicy, recipe: ExpoRecipe, *, place: Simulation, seed: int
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
        critic = self.valuing.critic
        return edited(self.base, critic, self._soft.actor, self.units, self.recipe, self._place, 0)

    def learn(self, proposed: ProposedChunks, rng: np.random.Generator) -> Mapping[str, float]:
        """Fit the critic and the edits, in turns."""
        memory, recipe = proposed.memory, self.recipe
        critic, soft = self.valuing.ready(memory).critic, self._ready(proposed)
        edit = Edit(self.base.network.head, critic, soft.actor, self.units, recipe)
        losses, entropy = [], torch.zeros(())
        for number in range(max(recipe.critic_steps, recipe.actor_steps)):
            rows = proposed.rows(recipe.critic.batch, rng)
            if number < recipe.critic_steps:
                after = memory.after[rows]
                chunks = self.units.first(proposed.chunks[after])
                noise = torch.from_numpy(rng.standard_normal(chunks.shape)).float()
                with torch.no_grad():
                    every = edit.candidates(memory.state[after], chunks, noise)
                action = self.valuing.next_action(memory.state[after], every, rng)
                losses.append(self.valuing.step(memory, rows, action))
            if number < recipe.actor_steps:
                state = memory.state[rows]
                drawn = torch.from_numpy(rng.integers(proposed.chunks.shape[1], size=len(rows)))
                given = self.units.first(proposed.chunks[rows, drawn])
                noise = torch.from_numpy(rng.standard_normal(given.shape)).float()
                entropy = soft.step(
                    lambda change, state=state, given=given: critic.value(
                        state, edit.edited(given, change)
                    ),
                    state,
                    given,
                    None,
                    noise,
                )
        loss = float(torch.stack(losses).mean()) if losses else 0.0
        found = {"critic_loss": loss, "entropy": float(entropy), "alpha": float(soft.alpha)}
        return {**found, "steps": recipe.actor_steps}

    def keep(self, folder: Path, number: int) -> Valued:
        """Write the critic and the edits."""
        assert self._soft is not None, "nothing was learned"
        critic, actor = deepcopy((self.valuing.critic, self._soft.actor))
        folder.mkdir(parents=True, exist_ok=True)
        store(folder, {"critic": critic, "actor": actor})
        return edited(self.base, critic, actor, self.units, self.recipe, self._place, number)

    def _ready(self, proposed: ProposedChunks) -> SoftLearner:
        if self._soft is None:
            self._soft = soft_learner(
                self.valuing.ready(proposed.memory).critic, self.units, self.recipe, self._seed
            )
        return self._soft


def edited(
    base: LearnedPolicy,
    critic: QCritic,
    actor: SquashedGaussian,
    units: ChunkUnits,
    recipe: ExpoRecipe,
    place: Simulation,
    number: int,
) -> Valued:
    """Build the on-the-fly policy."""
    standing = Standing(place.world, horizon=place.horizon, executed=units.executed)
    decide = Edit(base.network.head, critic, actor, units, recipe)
    return Valued(base, standing, decide, name=recipe.suffix, step=number)
