"""Q-guided flow (QGF): value gradients at test time, and nothing else is trained than the critic.

Zhou et al., "Test-Time Gradient Guidance of Flow Policies in Reinforcement Learning" (arXiv
2606.11087): at every denoising step, the clean action is estimated by a single Euler step, a' = a_t
+ (1 - t) v; the gradient g of the critic at a' is added to the velocity, a_(t+1) = a_t + (v + g /
beta) / T. The Jacobian of a' with respect to a_t is replaced by the identity, so that neither the
policy's network nor a noisy action is asked for a gradient.

What differs:
- Written with the clean chunk, which becomes a' + noise * g / beta, the rule applies to every head
  that denoises (on the straight path, it is the paper's). Other heads take the same number of
  gradient steps on their finished chunk.
- Only the executed part of a chunk is guided. The gradient is that at the nearest chunk within the
  actions' bounds.
- The critic learns in imagination, from episodes of the policy; the weight 1 / beta is the best of
  `weights` there.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldeval.files import write_json
from worldeval.improve.critic import QCritic
from worldeval.improve.features import Standing
from worldeval.improve.offpolicy import ProposedChunks, Valuing
from worldeval.improve.offpolicy_recipe import QgfRecipe
from worldeval.improve.place import Simulation, probabilities
from worldeval.improve.starts import Starts
from worldeval.improve.units import ChunkUnits, units_of
from worldeval.improve.valued import Valued, store
from worldeval.policy.build import PolicyHead
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.heads.denoise import DenoisingHead, Noise, advance, noise_of

WEIGHT = "guidance.json"  # the chosen weight, beside the critic's


class Guide:
    """Denoises towards a higher value."""

    def __init__(
        self, head: PolicyHead, critic: QCritic, units: ChunkUnits, *, weight: float, steps: int
    ) -> None:
        """`weight` is 1 / beta; a head that does not denoise takes `steps` gradient steps."""
        self.head, self.critic, self.units = head, critic, units
        self.weight, self.steps = weight, steps

    def __call__(
        self, state: Float[Tensor, "b f"], feature: Float[Tensor, "b d"], noise: Noise
    ) -> Float[Tensor, "b ka"]:
        """Draw a guided chunk for every state."""
        if not isinstance(self.head, DenoisingHead):
            x = self.head.act(feature, noise).detach()
            for _ in range(self.steps):
                x = x + self.weight / self.steps * self.slope(state, x)
            return x
        path = self.head.path
        x = noise_of(noise, len(feature), self.head.target, feature.device)
        for step in range(path.steps):
            at = torch.full((len(x),), step, device=x.device)
            clean = self.head.clean(x, at, feature)
            guided = clean + path.noise[step] * self.weight * self.slope(state, clean)
            x = advance(x, at, guided, path).mean
        return x

    def slope(
        self, state: Float[Tensor, "b f"], chunk: Float[Tensor, "b ka"]
    ) -> Float[Tensor, "b ka"]:
        """The value's gradient with respect to a clean chunk; 0 for what is not executed."""
        near = self.units.bounded(self.units.first(chunk.detach())).cpu()
        with torch.enable_grad():
            at = near.requires_grad_(True)
            (slope,) = torch.autograd.grad(self.critic.value(state, at).sum(), at)
        return self.units.replaced(torch.zeros_like(chunk), slope.to(chunk.device))


class QGuided:
    """Learns a critic of a policy, which stays as it is, and guides the policy by it."""

    def __init__(
        self,
        origin: LearnedPolicy,
        recipe: QgfRecipe,
        *,
        place: Simulation,
        starts: Starts,
        seed: int,
    ) -> None:
        self.base, self.recipe, self.weight = origin, recipe, 0.0
        self.units = units_of(origin.network, replan_every=place.replan_every)
        self.valuing = Valuing(recipe, self.units, seed=seed)
        self._place, self._starts, self._seed = place, starts, seed

    def policy(self) -> LearnedPolicy | Valued:
        """The policy as it is now: unguided until the critic has learned."""
        return self.guided(self.weight) if self.weight else self.base

    def guided(self, weight: float) -> Valued:
        """The policy with a given weight of guidance."""
        critic, place = self.valuing.critic, self._place
        return guided(self.base, critic, self.units, self.recipe, place, weight, 0)

    def learn(self, proposed: ProposedChunks, rng: np.random.Generator) -> Mapping[str, float]:
        """Fit the critic, and choose the weight with the highest imagined success."""
        found = self.valuing.learn(proposed, rng)
        drawn = self._starts.draw(self.recipe.tuning, rng)
        rates = {
            weight: float(
                probabilities(
                    self._place.compared(self.guided(weight), drawn, seed=self._seed)
                ).mean()
            )
            for weight in self.recipe.weights
        }
        self.weight = max(rates, key=lambda weight: rates[weight])
        return {**found, "weight": self.weight, "tuned": rates[self.weight]}

    def keep(self, folder: Path, number: int) -> Valued:
        """Write the critic and the weight."""
        critic = deepcopy(self.valuing.critic)
        folder.mkdir(parents=True, exist_ok=True)
        store(folder, {"critic": critic})
        write_json(folder / WEIGHT, {"weight": self.weight})
        place = self._place
        return guided(self.base, critic, self.units, self.recipe, place, self.weight, number)


def guided(
    base: LearnedPolicy,
    critic: QCritic,
    units: ChunkUnits,
    recipe: QgfRecipe,
    place: Simulation,
    weight: float,
    number: int,
) -> Valued:
    """Build a guided policy."""
    standing = Standing(place.world, horizon=place.horizon, executed=units.executed)
    decide = Guide(base.network.head, critic, units, weight=weight, steps=recipe.gradient_steps)
    return Valued(base, standing, decide, name=recipe.suffix, step=number)
