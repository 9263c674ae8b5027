"""Policy-guided sampling: move samples towards the actions of a target policy.

Jackson et al., "Policy-Guided Diffusion" (arXiv 2404.06356): trajectories are sampled under the
behaviour distribution p(actions), with the gradient of the target policy's action log-likelihood,
so that they follow p(actions) policy(actions)^scale. The gradient is taken at the predicted clean
actions, which the official code offers as an option and does not do by default. That code then
moves along the gradient, with a weight that depends on the step (`official_weight`); so does
`weighted`. By default we take the proximal step instead,

    argmax_a  scale log policy(a) - |a - predicted|^2 / (2 spread^2),

by a few rounds of gradient ascent, where spread^2, the share of noise left, is the remaining
uncertainty about actions of unit variance. It cannot overshoot, a larger scale never lowers the
final likelihood, and if behaviour and policy are Gaussian, the samples follow their exact product.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from worldeval.axes import Float
from worldeval.world.uwm.modes import Guide, Moment

# Actions of a chunk in the robot's units -> log-likelihood of each episode's chunk.
LogLikelihood = Callable[[Float[Tensor, "b n a"]], Float[Tensor, " b"]]


def policy_guide(
    likelihood: LogLikelihood,
    *,
    scale: float,
    action_std: Float[Tensor, " a"],
    rounds: int = 20,
    weighted: bool = False,
) -> Guide:
    """Build a guide for `draw` towards a policy's actions; scale 0 leaves samples unchanged.

    `action_std` holds the behaviour's standard deviations (`model.features.action_std`), which
    scale the steps in each dimension. With `weighted`, a step is one along the gradient with
    respect to standardised actions, normalised per episode, `scale` times `official_weight` long.
    """

    def guide(actions: Float[Tensor, "b n a"], moment: Moment) -> Float[Tensor, "b n a"]:
        if scale == 0 or moment.left == 0:
            return actions
        if weighted:
            size = scale * official_weight(moment.step, moment.steps)
            return actions + size * action_std * direction(likelihood, actions, action_std)
        spread = moment.left * action_std.square()
        return proximal(likelihood, actions, spread=spread, scale=scale, rounds=rounds)

    return guide


def official_weight(step: int, steps: int) -> float:
    """The weight of the gradient at a sampler's step, of which the first is 0.

    It falls with the noise, with a bump in the middle: (1 - i/N) + 0.3 sin(pi (i + 1)/N).
    """
    return (1 - step / steps) + 0.3 * math.sin(math.pi * (step + 1) / steps)


def direction(
    likelihood: LogLikelihood, actions: Float[Tensor, "b n a"], action_std: Float[Tensor, " a"]
) -> Float[Tensor, "b n a"]:
    """The direction in which standardised actions become likelier, of length 1 per episode."""
    with torch.enable_grad():
        leaf = actions.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(likelihood(leaf).sum(), leaf)
    gradient = gradient * action_std
    return gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-8)[:, None, None]


def proximal(
    likelihood: LogLikelihood,
    mean: Float[Tensor, "b n a"],
    *,
    spread: Float[Tensor, " a"],
    scale: float,
    rounds: int,
) -> Float[Tensor, "b n a"]:
    """Take the proximal step by gradient ascent; a row's step is halved if it would not improve."""

    def height(at: Float[Tensor, "b n a"]) -> Float[Tensor, " b"]:
        away = ((at - mean).square() / spread).flatten(1).sum(1)
        return scale * likelihood(at) - away / 2

    step = torch.ones(len(mean), 1, 1, device=mean.device)
    now = mean.detach()
    for _ in range(rounds):
        with torch.enable_grad():
            leaf = now.clone().requires_grad_()
            reached = height(leaf)
            (gradient,) = torch.autograd.grad(reached.sum(), leaf)
        trial = now + step * spread * gradient
        # Half of the predicted gain (Armijo): a step that gains less went past the maximum.
        promised = (step * spread * gradient.square()).flatten(1).sum(1)
        with torch.no_grad():
            climbs = (height(trial) >= reached + 0.45 * promised)[:, None, None]
        now = torch.where(climbs, trial, now)
        step = torch.where(climbs, step, step / 2)
    return now


def gaussian(mean: Float[Tensor, "b n a"], std: float | Float[Tensor, " a"]) -> LogLikelihood:
    """The log-likelihood of a Gaussian policy around `mean`, its chunk for an observation.

    If a chunk is longer than `mean`, only its first frames count.
    """

    def likelihood(actions: Float[Tensor, "b n a"]) -> Float[Tensor, " b"]:
        deviation = torch.as_tensor(std, dtype=actions.dtype, device=actions.device)
        unit = (actions[:, : mean.shape[1]] - mean[:, : actions.shape[1]]) / deviation
        constant = deviation.log() + math.log(2 * math.pi) / 2
        return -(unit.square() / 2 + constant).flatten(1).sum(1)

    return likelihood
