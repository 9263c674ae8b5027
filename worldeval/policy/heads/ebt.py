"""An energy over actions, sampled by gradient descent (EBT-Policy).

Davies et al., "EBT-Policy" (arXiv 2510.27545), after Gladstone et al., "Energy-Based Transformers
are Scalable Learners and Thinkers" (arXiv 2507.02092, eq. 1): a transformer gives the energy
E(observation, chunk), and a chunk is found by x <- x - alpha dE/dx with a learned alpha. Training
differentiates through a few such steps. In use, they go on until the chunk has settled, so that
hard moments take more steps, and the energy that is left says how unsure the policy is.

What differs:
- Training starts at the demonstrated chunk with a random share of noise, and compares after every
  step. From noise alone and with a squared error, several ways to act would become one average.
- The step's size is one learned number; nothing is added to it (the paper adds noise as in Langevin
  dynamics). Random is only where the descent begins.
- An episode whose step is small enough is left where it is, whatever the others of its batch do.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldeval.policy.heads.blocks import Tower, places
from worldeval.policy.heads.denoise import Noise, Warm, noise_of
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import EbtSettings


@dataclass(frozen=True, kw_only=True, eq=False)
class Settled:
    """Chunks at the end of the descent."""

    chunk: Float[Tensor, "b ka"]
    energy: Float[Tensor, " b"]  # of the chunk: higher where the policy is less sure
    steps: Int[Tensor, " b"]  # gradient steps that each one took


class EbtHead(nn.Module):
    """An energy of chunks, given features."""

    def __init__(self, parts: Parts, target: int, settings: EbtSettings, *, chunk: int) -> None:
        super().__init__()
        self.settings, self.target, self.chunk = settings, target, chunk
        width = settings.width
        self.state = nn.Linear(parts.width, width)
        self.action = nn.Linear(target // chunk, width)
        self.place = places(1 + chunk, width)
        self.tower = Tower(width, settings.depth)
        self.leave = nn.Linear(width, 1)
        self.log_alpha = nn.Parameter(torch.zeros(()))

    def energy(
        self, x: Float[Tensor, "b ka"], feature: Float[Tensor, "b d"]
    ) -> Float[Tensor, " b"]:
        """The energy of chunks: the mean over their tokens' numbers, times how many there are."""
        actions = self.action(x.unflatten(1, (self.chunk, -1)))
        tokens = torch.cat([self.state(feature)[:, None], actions], 1) + self.place
        return self.leave(self.tower(tokens))[:, 1:, 0].sum(1)

    def descend(
        self, x: Float[Tensor, "b ka"], feature: Float[Tensor, "b d"], *, train: bool
    ) -> Float[Tensor, "b ka"]:
        """Take one gradient step."""
        with torch.enable_grad():
            at = x if train and x.requires_grad else x.detach().requires_grad_(True)
            total = self.energy(at, feature).sum()
            (slope,) = torch.autograd.grad(total, at, create_graph=train)
        return at - self.log_alpha.exp() * slope

    def loss(
        self,
        feature: Float[Tensor, "b d"],
        target: Float[Tensor, "b ka"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared distance to the demonstrated chunk after every step of the descent."""
        share = torch.rand(len(target), 1, generator=generator).to(feature)
        noise = noise_of(generator, len(target), target.shape[1], target.device)
        x = (1 - share) * target + share * noise
        errors = []
        for _ in range(self.settings.descent):
            x = self.descend(x, feature, train=True)
            errors.append((x - target).square().mean())
        return torch.stack(errors).mean()

    def act(
        self, feature: Float[Tensor, "b d"], generators: Noise, warm: Warm | None = None
    ) -> Float[Tensor, "b ka"]:
        """Descend from each episode's own noise until it settles; a warm start is not used."""
        return self.settle(feature, generators).chunk

    @torch.no_grad()
    def settle(self, feature: Float[Tensor, "b d"], generators: Noise) -> Settled:
        """Descend until a step's root mean square is below `settled`, at most `most` steps."""
        x = noise_of(generators, len(feature), self.target, feature.device)
        going = torch.ones_like(x[:, :1], dtype=torch.bool)
        steps = torch.zeros_like(x[:, 0], dtype=torch.long)
        for _ in range(self.settings.most):
            moved = self.descend(x, feature, train=False).detach()
            steps += going[:, 0]
            size = (moved - x).square().mean(1, keepdim=True).sqrt()
            x = torch.where(going, moved, x)
            going = going & (size > self.settings.settled)
        return Settled(chunk=x, energy=self.energy(x, feature), steps=steps)
