"""Action chunks with a joint-embedding predictive loss (ACT-JEPA).

Vujinovic and Kovacevic, "ACT-JEPA" (arXiv 2501.14622): beside the action chunk (ACT: Zhao et al.,
arXiv 2304.13705, an L1 loss on learned queries), a predictor gives the abstract observations of the
chunk's frames. They are the answers of a slowly moving copy of the encoder, so that no pixel is
predicted, and the encoder learns how observations change.

What differs:
- One transformer for context and queries; the context does not read the queries. ACT's latent
  style variable is left out.
- The abstract observation of a frame is the encoder's embedding of all its views, normalised.
- The weight of the prediction (`predict`) and the decay are settings; 0 is ACT alone.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from worldeval.policy.heads.blocks import Tower, places
from worldeval.policy.heads.denoise import Noise, Warm
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import ActJepaSettings


class ActJepaHead(nn.Module):
    """Queries for actions, and in training for later observations; it draws no random numbers."""

    mask: Tensor

    def __init__(self, parts: Parts, target: int, settings: ActJepaSettings, *, chunk: int) -> None:
        super().__init__()
        self.parts, self.settings, self.chunk = parts, settings, chunk
        width, context = settings.width, 1 + parts.tokens
        self.state, self.token = nn.Linear(parts.now, width), nn.Linear(parts.token, width)
        self.place = places(context, width)
        self.queries = places(2 * chunk, width)  # actions, then observations
        self.tower = Tower(width, settings.depth)
        self.action = nn.Linear(width, target // chunk)
        self.observation = nn.Linear(width, parts.seen)
        self.register_buffer("mask", apart(context, chunk), persistent=False)

    def loss(
        self,
        feature: Float[Tensor, "b d"],
        target: Float[Tensor, "b ka"],
        generator: torch.Generator,
        ahead: Float[Tensor, "b k seen"] | None = None,
    ) -> Float[Tensor, ""]:
        """L1 of the chunk, and squared distance to later observations where they are given."""
        read = self.read(feature)
        loss = F.l1_loss(self.action(read[:, : self.chunk]).flatten(1), target)
        if ahead is None or not self.settings.predict:
            return loss
        wanted = F.layer_norm(ahead, ahead.shape[-1:])
        expected = self.observation(read[:, self.chunk :])
        return loss + self.settings.predict * F.mse_loss(expected, wanted)

    def act(
        self, feature: Float[Tensor, "b d"], generators: Noise, warm: Warm | None = None
    ) -> Float[Tensor, "b ka"]:
        """Return the regressed chunk; noise and a warm start are not used."""
        return self.action(self.read(feature)[:, : self.chunk]).flatten(1)

    def read(self, feature: Float[Tensor, "b d"]) -> Float[Tensor, "b q width"]:
        """What the queries read from the context."""
        seen = self.parts.split(feature)
        context = torch.cat([self.state(seen.now)[:, None], self.token(seen.tokens)], 1)
        queries = self.queries.expand(len(feature), -1, -1)
        read = self.tower(torch.cat([context + self.place, queries], 1), self.mask)
        return read[:, -2 * self.chunk :]


def apart(context: int, chunk: int) -> Bool[Tensor, "n n"]:
    """The context reads itself; queries read the context and those of their own kind."""
    mask = torch.zeros(context + 2 * chunk, context + 2 * chunk, dtype=torch.bool)
    mask[:, :context] = True
    for first in (context, context + chunk):
        mask[first : first + chunk, first : first + chunk] = True
    return mask
