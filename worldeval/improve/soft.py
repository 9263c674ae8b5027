"""A Gaussian actor for value and entropy, as in soft actor-critic.

Haarnoja et al., "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905): the actor
minimises E[alpha log pi(a|s) - Q(s, a)] (eq. 7) by the reparameterised gradient, and the
temperature alpha minimises E[-alpha log pi(a|s) - alpha H] for a target entropy H (eq. 18). A
sample is tanh of a Gaussian's, whose log-density is corrected for it (appendix C).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from worldeval.improve.critic import QCritic
from worldeval.improve.offpolicy_recipe import SoftRecipe
from worldeval.improve.units import ChunkUnits

LOG_STD = (-5.0, 1.0)  # bounds of the logarithm of the standard deviation
INSIDE = 0.95  # an anchor's largest size, at which tanh can still be left


class SquashedGaussian(nn.Module):
    """A distribution over (-1, 1), given a state and a proposed chunk.

    At first it does not depend on what it reads: its mean is the anchor, or 0.
    """

    state_mean: Tensor
    state_std: Tensor

    def __init__(self, state: int, size: int, hidden: int, *, std: float) -> None:
        """`size` is how many numbers are drawn, and those of the proposed chunk."""
        super().__init__()
        self.size = size
        self.layers = nn.Sequential(
            nn.Linear(state + size, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
        )
        self.mean, self.log_std = nn.Linear(hidden, size), nn.Linear(hidden, size)
        with torch.no_grad():
            for layer in (self.mean, self.log_std):
                layer.weight.zero_()
                layer.bias.zero_()
            self.log_std.bias.fill_(math.log(std))
        self.register_buffer("state_mean", torch.zeros(state))
        self.register_buffer("state_std", torch.ones(state))

    def forward(
        self,
        state: Float[Tensor, "n f"],
        given: Float[Tensor, "n ka"],
        anchor: Float[Tensor, "n ka"] | None = None,
    ) -> tuple[Float[Tensor, "n ka"], Float[Tensor, "n ka"]]:
        """Mean and standard deviation before tanh; `anchor` is a mean after it, in (-1, 1)."""
        unit = ((state - self.state_mean) / self.state_std).clamp(-5, 5)
        read = self.layers(torch.cat([unit, given], -1))
        mean = self.mean(read)
        if anchor is not None:
            mean = mean + torch.atanh(anchor.clamp(-INSIDE, INSIDE))
        return mean, self.log_std(read).clamp(*LOG_STD).exp()

    def sample(
        self,
        state: Float[Tensor, "n f"],
        given: Float[Tensor, "n ka"],
        anchor: Float[Tensor, "n ka"] | None,
        noise: Float[Tensor, "n ka"],
    ) -> tuple[Float[Tensor, "n ka"], Float[Tensor, " n"]]:
        """A sample made of standard normal `noise`, and its log-density."""
        mean, std = self(state, given, anchor)
        before = mean + std * noise
        log_normal = -0.5 * (noise.square() + math.log(2 * math.pi)) - std.log()
        # log(1 - tanh(z)^2), without the difference of nearly equal numbers.
        squashing = 2 * (math.log(2) - before - F.softplus(-2 * before))
        return before.tanh(), (log_normal - squashing).sum(-1)


class SoftLearner:
    """An actor, its temperature, and their optimisers."""

    def __init__(self, actor: SquashedGaussian, recipe: SoftRecipe) -> None:
        self.actor, self.recipe = actor, recipe
        self.log_alpha = torch.tensor(math.log(recipe.temperature), requires_grad=True)
        self._optimiser = torch.optim.Adam(actor.parameters(), lr=recipe.actor_rate)
        self._tuner = torch.optim.Adam([self.log_alpha], lr=recipe.actor_rate)

    @property
    def alpha(self) -> Float[Tensor, ""]:
        """The temperature."""
        return self.log_alpha.detach().exp()

    def step(
        self,
        value: Callable[[Tensor], Float[Tensor, " n"]],
        state: Float[Tensor, "n f"],
        given: Float[Tensor, "n ka"],
        anchor: Float[Tensor, "n ka"] | None,
        noise: Float[Tensor, "n ka"],
    ) -> Float[Tensor, ""]:
        """Take one step; `value` is that of samples in (-1, 1). Returns the mean entropy."""
        drawn, log_prob = self.actor.sample(state, given, anchor, noise)
        loss = (self.alpha * log_prob - value(drawn)).mean()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        entropy = -log_prob.detach().mean()
        if self.recipe.entropy is not None:
            wanted = self.recipe.entropy * self.actor.size
            self._tuner.zero_grad(set_to_none=True)
            (self.log_alpha.exp() * (entropy - wanted)).backward()
            self._tuner.step()
        return entropy


def soft_learner(critic: QCritic, units: ChunkUnits, recipe: SoftRecipe, seed: int) -> SoftLearner:
    """Make an actor that standardises states like the critic."""
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        actor = SquashedGaussian(len(critic.state_mean), units.size, recipe.hidden, std=recipe.std)
    actor.state_mean.copy_(critic.state_mean)
    actor.state_std.copy_(critic.state_std)
    return SoftLearner(actor, recipe)
