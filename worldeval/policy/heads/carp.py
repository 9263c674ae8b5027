"""Coarse-to-fine autoregression over action tokens (CARP).

Gong et al., "CARP" (arXiv 2412.06782): a chunk becomes tokens at several time scales, each scale
coding what the coarser ones left (residual quantisation). A transformer predicts all tokens of the
next scale at once from the coarser ones, with a mask between scales and a cross-entropy loss; in
use, the likeliest tokens are taken.

What differs:
- The tokenizer is not a learned convolutional autoencoder but codebooks on the actions themselves
  (see `ScaleTokens`), and both stages are trained together.
- The first scale codes all dimensions of the chunk's mean by one token: a choice between several
  ways to act is made once. The finer scales have one token for every dimension and time, as in the
  paper.
- Tokens can be drawn (`temperature`), not only maximised.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from worldeval.policy.heads.blocks import Tower, places
from worldeval.policy.heads.denoise import Noise, Warm, noise_of
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.scale_tokens import ScaleTokens, Tokens, resized, scales_of
from worldeval.policy.heads.settings import CarpSettings


class CarpHead(nn.Module):
    """A tokenizer and a transformer over its scales."""

    mask: Tensor

    def __init__(self, parts: Parts, target: int, settings: CarpSettings, *, chunk: int) -> None:
        super().__init__()
        self.settings, self.chunk, self.action = settings, chunk, target // chunk
        self.scales, codes, width = scales_of(chunk), settings.codes, settings.width
        self.tokenizer = ScaleTokens(chunk, self.action, codes)
        # Place 0 is for the choice of the mean; then come the places of each scale.
        count = 1 + sum(self.scales)
        self.state, self.rough = nn.Linear(parts.width, width), nn.Linear(self.action, width)
        self.place = places(count, width)
        self.tower = Tower(width, settings.depth)
        self.choice, self.detail = nn.Linear(width, codes), nn.Linear(width, self.action * codes)
        self.register_buffer("mask", by_scale((1, *self.scales)), persistent=False)

    def loss(
        self,
        feature: Float[Tensor, "b d"],
        target: Float[Tensor, "b ka"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of the tokens of all scales; the codebooks move towards the data."""
        chunk = target.unflatten(1, (self.chunk, self.action))
        if self.training:
            self.tokenizer.learn(chunk, generator)
        return -self.log_prob(feature, self.tokenizer.encode(chunk)).mean() / self.count

    @property
    def count(self) -> int:
        """Tokens of a chunk."""
        return 1 + sum(self.scales) * self.action

    def log_prob(self, feature: Float[Tensor, "b d"], tokens: Tokens) -> Float[Tensor, " b"]:
        """Log-likelihood of a chunk's tokens, all scales of which are known."""
        assert tokens.choice is not None
        choice, details = self.logits(feature, tokens)
        total = F.log_softmax(choice, -1).gather(1, tokens.choice[:, None])[:, 0]
        for logits, found in zip(details, tokens.details, strict=True):
            each = F.log_softmax(logits, -1).gather(-1, found[..., None])[..., 0]
            total = total + each.flatten(1).sum(1)
        return total

    def logits(
        self, feature: Float[Tensor, "b d"], tokens: Tokens
    ) -> tuple[Float[Tensor, "b v"], list[Tensor]]:
        """Scores of every scale's tokens, given all coarser ones (teacher forcing)."""
        built = self.tokenizer.built(tokens)
        inputs = [self.state(feature)[:, None]]
        inputs += [
            self.rough(resized(rough, scale))
            for rough, scale in zip(built, self.scales, strict=False)
        ]
        x = torch.cat(inputs, 1)
        count = x.shape[1]
        # The features are also added to every place, which the paper does by modulation.
        x = x + self.place[:count] + inputs[0]
        read = self.tower(x, self.mask[:count, :count])
        sizes = (1, *self.scales)[: len(inputs)]
        first, *others = read.split(sizes, dim=1)
        codes = self.settings.codes
        return self.choice(first[:, 0]), [
            self.detail(other).unflatten(-1, (self.action, codes)) for other in others
        ]

    def act(
        self, feature: Float[Tensor, "b d"], generators: Noise, warm: Warm | None = None
    ) -> Float[Tensor, "b ka"]:
        """Predict scale after scale; a warm start is not used."""
        uniform = None
        if self.settings.temperature:
            drawn = noise_of(generators, len(feature), self.count, feature.device)
            uniform = torch.special.ndtr(drawn)
        choice, _ = self.logits(feature, Tokens(choice=None))
        tokens = Tokens(choice=self.pick(choice, uniform[:, 0] if uniform is not None else None))
        begin = 1
        for scale in self.scales:
            _, details = self.logits(feature, tokens)
            own = None
            if uniform is not None:
                own = uniform[:, begin : begin + scale * self.action]
                own = own.unflatten(1, (scale, self.action))
            begin += scale * self.action
            tokens = tokens.with_details(self.pick(details[-1], own))
        return self.tokenizer.built(tokens)[-1].flatten(1)

    def pick(
        self, logits: Float[Tensor, "*n v"], uniform: Float[Tensor, "*n"] | None
    ) -> Int[Tensor, "*n"]:
        """The likeliest tokens, or those at the given quantiles."""
        if uniform is None:
            return logits.argmax(-1)
        below = torch.softmax(logits / self.settings.temperature, -1).cumsum(-1)
        return (below < uniform[..., None]).sum(-1).clamp(max=logits.shape[-1] - 1)


def by_scale(sizes: tuple[int, ...]) -> Bool[Tensor, "n n"]:
    """Let every place read its own scale and the coarser ones."""
    scale = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return scale[:, None] >= scale[None]
