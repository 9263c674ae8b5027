"""Policy-agnostic reinforcement learning (PA-RL): improve actions first, then imitate them.

Mark et al., "Policy Agnostic RL: Offline RL and Online RL Fine-Tuning of Any Class and Backbone"
(arXiv 2412.06685): at every state, several actions are sampled from the policy and re-ranked by the
critic (global optimisation), the best are improved by gradient steps on the critic (local
optimisation), and the policy imitates the result with the supervised loss that it was trained with.
The policy's kind therefore does not matter.

What differs:
- The actions are chunks, and only their executed part is improved.
- A gradient step has a fixed size in standardised actions, and is undone where the value falls.
- Proposals of a head that draws nothing are spread by noise (`noise`).
- Batches contain original demonstrations (`ratio`), and nothing is imitated after success.
- The critic learns from imagined episodes and recorded ones replayed in imagination; its targets
  use the best proposal, before the gradient steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldeval.improve.critic import QCritic
from worldeval.improve.offpolicy import ProposedChunks, Valuing
from worldeval.improve.offpolicy_recipe import PaRecipe
from worldeval.improve.units import ChunkUnits, units_of
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.demos import Demos
from worldeval.policy.finetune import BatchShare, finetune, keep

ROWS = 1024  # states whose chunks are improved at a time


class PolicyAgnostic:
    """A policy that imitates its own proposals, as improved by the critic."""

    def __init__(
        self,
        origin: LearnedPolicy,
        recipe: PaRecipe,
        *,
        replan_every: int,
        demos: Demos | None,
        seed: int,
    ) -> None:
        """`demos` are the original demonstrations; None: only imagined chunks are imitated."""
        self.base, self.recipe, self.demos = origin, recipe, demos
        self.units = units_of(origin.network, replan_every=replan_every)
        self.valuing = Valuing(recipe, self.units, seed=seed)
        self._lineage, self._began = origin.card.lineage, perf_counter()
        self._loss = 0.0

    def policy(self) -> LearnedPolicy:
        """The policy as it is now."""
        return self.base

    def learn(self, proposed: ProposedChunks, rng: np.random.Generator) -> Mapping[str, float]:
        """Fit the critic, improve the proposals and imitate them."""
        found = self.valuing.learn(proposed, rng)
        improved = self._improved(proposed, rng)
        memory, recipe = proposed.memory, self.recipe
        actions = memory.demos.actions.copy()
        network = self.base.network
        actions[memory.rows] = network.to_actions(improved.chunks.to(network.device)).cpu().numpy()
        weight = np.zeros(len(memory.demos))
        weight[memory.rows] = memory.open
        ratio = recipe.ratio if self.demos is not None else 0.0
        parts = [
            BatchShare(demos=replace(memory.demos, actions=actions), share=1 - ratio, weight=weight)
        ]
        if self.demos is not None and ratio:
            parts.insert(0, BatchShare(demos=self.demos, share=ratio))
        tuned = finetune(self.base, parts, recipe.trainer, rng)
        origin = self.base
        self.base = LearnedPolicy(tuned.network, origin.recipe, origin.sizes, origin.card)
        self._loss = tuned.loss
        return {**found, "value_gain": improved.gain, "loss": tuned.loss, "steps": tuned.steps}

    def keep(self, folder: Path, number: int) -> LearnedPolicy:
        """Write a checkpoint."""
        return keep(
            folder,
            self.base,
            self.base.network,
            lineage=f"{self._lineage}-{self.recipe.suffix}",
            step=number,
            note="imitation of chunks that the critic improved (PA-RL)",
            loss=self._loss,
            seconds=perf_counter() - self._began,
        )

    def _improved(self, proposed: ProposedChunks, rng: np.random.Generator) -> "ImprovedChunks":
        """Re-rank and improve the proposals at every call."""
        recipe, chunks, gains = self.recipe, [], []
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        for begin in range(0, len(proposed.memory), ROWS):
            state = proposed.memory.state[begin : begin + ROWS]
            drafts = proposed.chunks[begin : begin + ROWS]
            with torch.no_grad():
                values = self.valuing.values(state, self.units.first(drafts))
            top = values.topk(recipe.best, 1).indices
            kept = drafts.gather(1, top[..., None].expand(-1, -1, drafts.shape[2]))
            moved, reached = ascend(
                self.valuing.critic,
                state,
                self.units.first(kept),
                self.units,
                steps=recipe.gradient_steps,
                size=recipe.step,
            )
            pick = chosen(reached, recipe.temperature, generator)
            every = torch.arange(len(state))
            chunks.append(self.units.replaced(kept, moved)[every, pick])
            gains.append(reached[every, pick] - values[:, 0])
        return ImprovedChunks(chunks=torch.cat(chunks), gain=float(torch.cat(gains).mean()))


@dataclass(frozen=True, kw_only=True, eq=False)
class ImprovedChunks:
    """The standardised chunk to imitate at every call."""

    chunks: Float[Tensor, "n ka"]
    gain: float  # mean rise of the value over the policy's own chunk


def ascend(
    critic: QCritic,
    state: Float[Tensor, "n f"],
    chunks: Float[Tensor, "n m ka"],
    units: ChunkUnits,
    *,
    steps: int,
    size: float,
) -> tuple[Float[Tensor, "n m ka"], Float[Tensor, "n m"]]:
    """Improve the executed part of chunks by gradient steps; returns them and their values.

    `size` is the root mean square of a step. Chunks stay within the actions' bounds, and where a
    step would lower the value, they stay where they are.
    """
    states = state[:, None].expand(-1, chunks.shape[1], -1)
    best = chunks.detach()
    with torch.no_grad():
        reached = critic.value(states, best)
    for _ in range(steps):
        at = best.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(critic.value(states, at).sum(), at)
        length = slope.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-8)
        moved = units.bounded(best + size * slope / length)
        with torch.no_grad():
            value = critic.value(states, moved)
        better = value > reached
        best = torch.where(better[..., None], moved, best)
        reached = torch.where(better, value, reached)
    return best, reached


def chosen(values: Float[Tensor, "n m"], temperature: float, generator: torch.Generator) -> Tensor:
    """Select a chunk per state: the best, or in proportion to exp(value / temperature)."""
    if not temperature:
        return values.argmax(1)
    share = (values / temperature).softmax(1)
    return torch.multinomial(share, 1, generator=generator)[:, 0]
