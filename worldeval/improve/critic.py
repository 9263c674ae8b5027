"""The critic of off-policy improvement: the return of a state and an action chunk.

An ensemble of small networks reads the world's features (latents and pose, or a recurrent state),
task, elapsed time and the executed part of a chunk, in standardised actions. Targets are n-step
chunk returns: the rewards of `calls` calls of the policy, and the critic's value after them.

Sources:
- the smaller of two networks: Fujimoto et al., "Addressing Function Approximation Error in
  Actor-Critic Methods" (TD3, 2018), clipped double Q-learning;
- quantiles and their loss: Dabney et al., "Distributional Reinforcement Learning with Quantile
  Regression" (2018), the quantile Huber loss at the midpoints of equal shares;
- truncated mixtures of quantiles: Kuznetsov et al., "Controlling Overestimation Bias with Truncated
  Mixture of Continuous Distributional Quantile Critics" (TQC, 2020);
- bins with a cross-entropy loss: Farebrother et al., "Stop Regressing" (2024), two-hot;
- targets lowered by the spread of a distributional critic: Oezalp, "Stochastic Actor-Critic" (STAC,
  arXiv 2601.00737).

What differs:
- Quantile targets of every head may be the smaller network's, their mean or a truncated mixture.
- Targets are bounded (`bounds`), because the largest return is known here.
- STAC's dropout is left out. With bins, targets are single numbers, so the spread of the
  prediction is that of one backup (temporal, as in STAC); with quantiles, it is that of the return.
- N-step returns are not corrected for the policy that made them.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from worldeval.improve.critic_recipe import CriticRecipe

HUBER = 0.1  # error from which the quantile loss is linear; returns are at most about 1


class QCritic(nn.Module):
    """An ensemble over states and chunks; every network predicts `atoms` numbers."""

    state_mean: Tensor
    state_std: Tensor
    support: Tensor

    def __init__(self, state: int, action: int, recipe: CriticRecipe) -> None:
        """`state` and `action` are the numbers of a state and of an executed chunk."""
        super().__init__()
        self.recipe = recipe
        out = 1 if recipe.head == "mean" else recipe.atoms
        self.members = nn.ModuleList(
            _network(state + action, recipe.hidden, out, normalised=recipe.normalised)
            for _ in range(recipe.members)
        )
        self.register_buffer("state_mean", torch.zeros(state))
        self.register_buffer("state_std", torch.ones(state))
        support = torch.linspace(*recipe.bounds, out) if out > 1 else torch.zeros(1)
        self.register_buffer("support", support, persistent=False)

    def fit_normaliser(self, states: Float[Tensor, "n f"]) -> None:
        """Standardise by the first states; constant features are left unchanged."""
        self.state_mean.copy_(states.mean(0))
        spread = states.std(0)
        self.state_std.copy_(torch.where(spread > 1e-4, spread, torch.ones_like(spread)))

    def forward(
        self, state: Float[Tensor, "*n f"], action: Float[Tensor, "*n ka"]
    ) -> Float[Tensor, "m *n atoms"]:
        """Every network's output: returns, or the logits of bins."""
        # A feature that was nearly constant at first must not dominate later.
        unit = ((state - self.state_mean) / self.state_std).clamp(-5, 5)
        given = torch.cat([unit, action], -1)
        return torch.stack([member(given) for member in self.members])

    def atoms(
        self, state: Float[Tensor, "*n f"], action: Float[Tensor, "*n ka"]
    ) -> tuple[Float[Tensor, "m *n atoms"], Float[Tensor, "m *n atoms"]]:
        """Possible returns and their probabilities, according to every network."""
        out = self(state, action)
        if self.recipe.head == "two-hot":
            return self.support.expand_as(out), out.softmax(-1)
        return out, torch.full_like(out, 1 / out.shape[-1])

    def each(
        self, state: Float[Tensor, "*n f"], action: Float[Tensor, "*n ka"]
    ) -> Float[Tensor, "m *n"]:
        """The mean return according to every network."""
        returns, share = self.atoms(state, action)
        return (returns * share).sum(-1)

    def value(
        self, state: Float[Tensor, "*n f"], action: Float[Tensor, "*n ka"]
    ) -> Float[Tensor, "*n"]:
        """The return that policies are improved by: the targets' combination, less pessimism."""
        returns, share = self.atoms(state, action)
        means = (returns * share).sum(-1)
        value = means.min(0).values if self.recipe.target == "min" else means.mean(0)
        return value - self.recipe.pessimism * _spread(returns, share)

    def loss(
        self,
        state: Float[Tensor, "n f"],
        action: Float[Tensor, "n ka"],
        target: Float[Tensor, "n t"],
    ) -> Float[Tensor, ""]:
        """The mean loss of all networks; for a mean or bins, `target` has one number per row."""
        out = self(state, action)
        if self.recipe.head == "mean":
            return (out - target).square().mean()
        if self.recipe.head == "two-hot":
            wanted = two_hot(target[:, 0], self.support)
            return -(wanted * out.log_softmax(-1)).sum(-1).mean()
        return torch.stack([quantile_loss(each, target) for each in out]).mean()


class CriticLearner:
    """A critic, the moving average that gives its targets, and their optimiser."""

    def __init__(self, state: int, action: int, recipe: CriticRecipe, *, seed: int) -> None:
        self.recipe = recipe
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.critic = QCritic(state, action, recipe)
        self.target = deepcopy(self.critic).requires_grad_(False)
        self._optimiser = torch.optim.Adam(self.critic.parameters(), lr=recipe.learning_rate)

    def fit_normaliser(self, states: Float[Tensor, "n f"]) -> None:
        """Standardise states; call this once, before the first step."""
        for each in (self.critic, self.target):
            each.fit_normaliser(states)

    @torch.no_grad()
    def targets(
        self,
        reward: Float[Tensor, " n"],
        discount: Float[Tensor, " n"],
        state: Float[Tensor, "n f"],
        action: Float[Tensor, "n ka"],
        bonus: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n t"]:
        """Returns to learn: `reward` so far, and the average's value of the next state and action.

        `discount` is 0 where the episode has ended; `bonus` is added to the next value (entropy).
        """
        recipe = self.recipe
        returns, share = self.target.atoms(state, action)
        means = (returns * share).sum(-1)
        if recipe.head != "quantile":
            after = (means.min(0).values if recipe.target == "min" else means.mean(0))[:, None]
        elif recipe.target == "truncated":
            pooled = returns.permute(1, 0, 2).flatten(1).sort(-1).values
            after = pooled[:, : pooled.shape[1] - recipe.dropped * recipe.members]
        elif recipe.target == "min":
            after = returns[means.argmin(0), torch.arange(len(reward))]
        else:
            after = returns.mean(0)
        after = after - recipe.pessimism * _spread(returns, share)[:, None]
        if bonus is not None:
            after = after + bonus[:, None]
        return (reward[:, None] + discount[:, None] * after).clamp(*recipe.bounds)

    def step(
        self,
        state: Float[Tensor, "n f"],
        action: Float[Tensor, "n ka"],
        target: Float[Tensor, "n t"],
    ) -> Float[Tensor, ""]:
        """Take one gradient step, and move the average; returns the loss."""
        loss = self.critic.loss(state, action, target)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        with torch.no_grad():
            for kept, new in zip(self.target.parameters(), self.critic.parameters(), strict=True):
                kept.lerp_(new, 1 - self.recipe.average)
        return loss.detach()


def n_step(
    reward: Float[Tensor, "t b"], *, calls: int, gamma: float
) -> tuple[Float[Tensor, "t b"], Float[Tensor, "t b"]]:
    """Discounted rewards of the next `calls` calls, and the discount of the value after them.

    That discount is 0 where the episode ends before.
    """
    total, steps = torch.zeros_like(reward), len(reward)
    for ahead in range(min(calls, steps)):
        total[: steps - ahead] += gamma**ahead * reward[ahead:]
    discount = torch.zeros_like(reward)
    discount[: max(steps - calls, 0)] = gamma**calls
    return total, discount


def two_hot(value: Float[Tensor, " n"], support: Float[Tensor, " k"]) -> Float[Tensor, "n k"]:
    """Divide each value between its two neighbours of an even support, so that its mean stays."""
    step = support[1] - support[0]
    place = ((value - support[0]) / step).clamp(0, len(support) - 1)
    low = place.floor().long().clamp(max=len(support) - 2)
    upper = place - low
    out = torch.zeros(len(value), len(support), device=value.device)
    out.scatter_(1, low[:, None], (1 - upper)[:, None])
    return out.scatter_(1, low[:, None] + 1, upper[:, None])


def quantile_loss(
    predicted: Float[Tensor, "n k"], target: Float[Tensor, "n t"]
) -> Float[Tensor, ""]:
    """The quantile Huber loss of every prediction against every target."""
    count = predicted.shape[1]
    share = (torch.arange(count, device=predicted.device) + 0.5) / count
    error = target[:, None, :] - predicted[:, :, None]  # n k t
    size = F.huber_loss(predicted[:, :, None].expand_as(error), target[:, None, :].expand_as(error),
                        reduction="none", delta=HUBER) / HUBER  # fmt: skip
    weight = (share[:, None] - (error.detach() < 0).float()).abs()
    return (weight * size).mean(2).sum(1).mean()


def _spread(
    returns: Float[Tensor, "m *n k"], share: Float[Tensor, "m *n k"]
) -> Float[Tensor, "*n"]:
    """Standard deviation of the return within a network, averaged over networks."""
    mean = (returns * share).sum(-1, keepdim=True)
    # A square root has no gradient at 0.
    return ((returns - mean).square() * share).sum(-1).add(1e-12).sqrt().mean(0)


def _network(width: int, hidden: int, out: int, *, normalised: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for into in (width, hidden):
        layers.append(nn.Linear(into, hidden))
        if normalised:
            layers.append(nn.LayerNorm(hidden))
        layers.append(nn.SiLU())
    return nn.Sequential(*layers, nn.Linear(hidden, out))
