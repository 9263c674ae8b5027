"""An in-context diffusion transformer (Dita): noisy actions attend to patches and words.

Hou et al., "Dita" (arXiv 2503.19757): words, patches of the images, the diffusion time and the
noisy actions are one sequence for a causal transformer, which denoises the actions in place;
nothing is compressed to one vector first. Noise levels, target and sampler are those of the
diffusion head.

What differs:
- The images' patches come from the policy's own convolutions and the words from a learned table,
  where the paper has DINOv2 with a Q-Former and CLIP.
- One small transformer without pre-training, with proprioception as one more token.
- The network predicts v, where the paper predicts noise.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from worldeval.policy.heads.blocks import Tower, places
from worldeval.policy.heads.denoise import FREQUENCIES
from worldeval.policy.heads.diffusion import DiffusionHead
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import DitaSettings


class DitaHead(DiffusionHead):
    """The diffusion head with a transformer in place of its MLP."""

    def __init__(
        self,
        parts: Parts,
        target: int,
        settings: DitaSettings,
        *,
        chunk: int,
        levels: int,
        steps: int,
    ) -> None:
        network = InContext(parts, chunk, target // chunk, settings)
        super().__init__(parts.width, 0, target, levels=levels, steps=steps, network=network)


class InContext(nn.Module):
    """The transformer over words, state, patches, time and noisy actions, in this order."""

    mask: Tensor

    def __init__(self, parts: Parts, chunk: int, action: int, settings: DitaSettings) -> None:
        super().__init__()
        self.parts, self.chunk, self.action = parts, chunk, action
        width = settings.width
        self.word, self.token = nn.Linear(parts.word, width), nn.Linear(parts.token, width)
        self.state, self.time = nn.Linear(parts.now, width), nn.Linear(2 * FREQUENCIES, width)
        self.noisy, self.leave = nn.Linear(action, width), nn.Linear(width, action)
        count = parts.words + 1 + parts.tokens + 1 + chunk
        self.place = places(count, width)
        self.tower = Tower(width, settings.depth)
        self.register_buffer("mask", causal(count), persistent=False)

    def forward(self, joined: Float[Tensor, "b all"]) -> Float[Tensor, "b ka"]:
        """Predict from noisy chunks, the embedded time and the feature, side by side."""
        sizes = (self.chunk * self.action, 2 * FREQUENCIES, self.parts.width)
        noisy, time, feature = joined.split(sizes, dim=-1)
        seen = self.parts.split(feature)
        tokens = [
            self.word(seen.words),
            self.state(seen.now)[:, None],
            self.token(seen.tokens),
            self.time(time)[:, None],
            self.noisy(noisy.unflatten(1, (self.chunk, self.action))),
        ]
        read = self.tower(torch.cat(tokens, 1) + self.place, self.mask)
        return self.leave(read[:, -self.chunk :]).flatten(1)


def causal(count: int) -> Bool[Tensor, "n n"]:
    """Let every token read itself and those before it."""
    return torch.ones(count, count, dtype=torch.bool).tril()
