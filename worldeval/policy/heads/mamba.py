"""Decision Mamba: selective state spaces over the history, and a target that evolves.

Lv et al., "Decision Mamba: A Multi-Grained State Space Model with Self-Evolution Regularization"
(arXiv 2406.05427): a coarse scan goes over the steps of the history, a fine one over the parts of
each step, and both are added. So that noisy demonstrations are not learned by heart, the target
becomes (1 - w) a + w a', where a' is what the policy itself said earlier in training and w grows
with training ("progressive" self-evolution).

What differs:
- For imitation: there are no returns to go, and past actions are not read, so the parts of a step
  are its images and its pose.
- The earlier policy is a moving average of the head's weights on today's features, where the paper
  keeps the policy of the epoch before; w grows linearly up to `evolve` over `ramp` steps.
- The answer is an action chunk; states and returns are not predicted.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from worldeval.policy.heads.denoise import Noise, Warm, layers
from worldeval.policy.heads.follower import Follower
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.selective import SelectiveLayer
from worldeval.policy.heads.settings import MambaSettings

DECAY = 0.99  # of the weights that remember the earlier policy


class MambaHead(nn.Module):
    """Regression from a history to a chunk; it draws no random numbers."""

    def __init__(self, parts: Parts, hidden: int, target: int, settings: MambaSettings) -> None:
        super().__init__()
        self.settings = settings
        self.answer = HistoryNetwork(parts, hidden, target, settings)
        self.earlier = Follower(self.answer, DECAY) if settings.evolve else None

    def loss(
        self,
        feature: Float[Tensor, "b d"],
        target: Float[Tensor, "b ka"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared distance to the evolved chunk; the generator is not used."""
        if self.earlier is not None:
            weight = self.settings.evolve * (self.earlier.count / self.settings.ramp).clamp(max=1)
            target = torch.lerp(target, self.earlier(feature.detach()), weight.to(target.dtype))
            self.earlier.follow(self.answer)
        return F.mse_loss(self.answer(feature), target)

    def act(
        self, feature: Float[Tensor, "b d"], generators: Noise, warm: Warm | None = None
    ) -> Float[Tensor, "b ka"]:
        """Return the regressed chunk; noise and a warm start are not used."""
        return self.answer(feature)


class HistoryNetwork(nn.Module):
    """Blocks with a coarse and a fine scan, and an MLP at the newest step."""

    def __init__(self, parts: Parts, hidden: int, target: int, settings: MambaSettings) -> None:
        super().__init__()
        self.parts = parts
        self.look = nn.Linear(parts.seen, settings.width)
        self.feel = nn.Linear(parts.pose, settings.width)
        self.blocks = nn.ModuleList(
            MultiGrained(settings.width, settings.state) for _ in range(settings.depth)
        )
        self.leave = layers(settings.width + parts.now, hidden, target)

    def forward(self, feature: Float[Tensor, "b d"]) -> Float[Tensor, "b ka"]:
        """Predict a chunk."""
        seen = self.parts.split(feature)
        images, pose = seen.history.split((self.parts.seen, self.parts.pose), dim=-1)
        x = torch.stack([self.look(images), self.feel(pose)], 2)
        for block in self.blocks:
            x = block(x)
        return self.leave(torch.cat([x[:, -1].mean(1), seen.now], dim=-1))


class MultiGrained(nn.Module):
    """A scan over the steps, and one within every step, both added to their input."""

    def __init__(self, width: int, state: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.coarse = SelectiveLayer(width, state=state)
        self.fine = SelectiveLayer(width, state=state)

    def forward(self, x: Float[Tensor, "b t part d"]) -> Float[Tensor, "b t part d"]:
        """Mix steps, and the parts of each step."""
        normal = self.norm(x)
        across = self.coarse(normal.mean(2))[:, :, None]
        within = self.fine(normal.flatten(0, 1)).view_as(x)
        return x + across + within
