"""A transformer block in which a frame's tokens attend to each other and to earlier frames.

adaLN-zero modulation: Peebles & Xie, "Scalable Diffusion Models with Transformers" (2023). Keys of
past frames carry a learned vector for their age in frames (Shaw et al., "Self-Attention with
Relative Position Representations", 2018). It is added when keys are read, so that a cached key can
be used at any age.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Bool, Float
from worldeval.world.layers import HeadNorm, modulated


@dataclass(frozen=True, kw_only=True)
class KeysValues:
    """Keys and values of whole frames, as computed by one block."""

    keys: Float[Tensor, "b t h n e"]
    values: Float[Tensor, "b t h n e"]


@dataclass(frozen=True, kw_only=True)
class AttendedFrames:
    """Keys and values that a batch of frames attends to besides its own."""

    keys: Float[Tensor, "m h p e"]
    values: Float[Tensor, "m h p e"]
    mask: Bool[Tensor, "m p"]  # True where there is a token


class Block(nn.Module):
    """Attention within the frame and to `seen` tokens, then an MLP; the condition gates both."""

    def __init__(
        self, width: int, heads: int, *, condition: int, window: int, remembers: bool
    ) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(condition, 6 * width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.read_key_value = nn.Linear(width, 2 * width) if remembers else None
        # Normalised queries and keys keep attention from saturating at high learning rates.
        self.query_norm = HeadNorm(width // heads, eps=1e-6)
        self.key_norm = HeadNorm(width // heads, eps=1e-6)
        self.lag = nn.Parameter(0.02 * torch.randn(window, heads, 1, width // heads))
        self.mix = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, x: Float[Tensor, "m n u"], condition: Float[Tensor, "m c"], seen: AttendedFrames
    ) -> Float[Tensor, "m n u"]:
        """Apply the block to the tokens of `m` frames."""
        parts = self.modulation(condition)[:, None].chunk(6, 2)
        given = modulated(x, *parts[:2])
        own = self.own(given)
        return self._rest(x, given, parts, own, seen)

    def settle(
        self, x: Float[Tensor, "m n u"], condition: Float[Tensor, "m c"], seen: AttendedFrames
    ) -> tuple[Float[Tensor, "m n u"], KeysValues]:
        """Apply the block and return the keys and values for later frames as well (t = 1)."""
        parts = self.modulation(condition)[:, None].chunk(6, 2)
        given = modulated(x, *parts[:2])
        own = self.own(given)
        kept = KeysValues(keys=own[0][:, None], values=own[1][:, None])
        return self._rest(x, given, parts, own, seen), kept

    def settle_sequence(
        self, x: Float[Tensor, "m n u"], condition: Float[Tensor, "m c"], *, frames: int
    ) -> tuple[Float[Tensor, "m n u"], KeysValues]:
        """Apply `settle` to `frames` consecutive frames (m = b t); each sees those before it."""
        parts = self.modulation(condition)[:, None].chunk(6, 2)
        given = modulated(x, *parts[:2])
        own = self.own(given)
        kept = KeysValues(
            keys=own[0].unflatten(0, (-1, frames)), values=own[1].unflatten(0, (-1, frames))
        )
        return self._rest(x, given, parts, own, self.before_each(kept)), kept

    def own(self, given: Float[Tensor, "m n u"]) -> tuple[Tensor, Tensor]:
        """Compute keys and values of the frame itself."""
        keys, values = self._split(self.key_value(given), 2)
        return self.key_norm(keys), values

    def read(self, tokens: Float[Tensor, "m p u"], mask: Bool[Tensor, "m p"]) -> AttendedFrames:
        """Compute keys and values of memory tokens, which are read but never updated."""
        assert self.read_key_value is not None
        keys, values = self._split(self.read_key_value(tokens), 2)
        return AttendedFrames(keys=self.key_norm(keys), values=values, mask=mask)

    def recall(self, past: KeysValues) -> AttendedFrames:
        """Return the cached frames, newest last, as the next frame sees them."""
        frames, cells = past.keys.shape[1], past.keys.shape[3]
        lag = self.lag[:frames].flip(0)
        keys, values = (
            rearrange(each, "b t h n e -> b h (t n) e") for each in (past.keys + lag, past.values)
        )
        mask = torch.ones(len(keys), frames * cells, dtype=torch.bool, device=keys.device)
        return AttendedFrames(keys=keys, values=values, mask=mask)

    def before_each(self, sequence: KeysValues) -> AttendedFrames:
        """For every frame of a sequence, return the window of frames before it (m = b t)."""
        window, (batch, frames, _, cells, _) = len(self.lag), sequence.keys.shape

        def cut(each: Tensor) -> Tensor:
            padded = F.pad(each, (0, 0, 0, 0, 0, 0, window, 0))[:, :-1]
            # The oldest frame of a window comes first.
            return rearrange(padded.unfold(1, window, 1), "b t h n e w -> (b t) w h n e")

        slot = torch.arange(window, device=sequence.keys.device)
        there = torch.arange(frames, device=slot.device)[:, None] - window + slot >= 0
        keys, values = cut(sequence.keys) + self.lag.flip(0), cut(sequence.values)
        mask = there.repeat_interleave(cells, 1).repeat(batch, 1)
        keys, values = (rearrange(each, "m w h n e -> m h (w n) e") for each in (keys, values))
        return AttendedFrames(keys=keys, values=values, mask=mask)

    def _rest(
        self,
        x: Float[Tensor, "m n u"],
        given: Float[Tensor, "m n u"],
        parts: tuple[Tensor, ...],
        own: tuple[Tensor, Tensor],
        seen: AttendedFrames,
    ) -> Float[Tensor, "m n u"]:
        (query,) = self._split(self.query(given), 1)
        mask = F.pad(seen.mask, (0, own[0].shape[2]), value=True)[:, None, None]
        found = F.scaled_dot_product_attention(
            self.query_norm(query),
            torch.cat([seen.keys, own[0]], 2),
            torch.cat([seen.values, own[1]], 2),
            attn_mask=mask,
        )
        x = x + parts[2] * self.mix(rearrange(found, "m h n e -> m n (h e)"))
        hidden = F.gelu(self.widen(modulated(x, *parts[3:5])), approximate="tanh")
        return x + parts[5] * self.narrow(hidden)

    def _split(self, x: Float[Tensor, "m n kd"], count: int) -> tuple[Tensor, ...]:
        return rearrange(x, "m n (k h e) -> k m h n e", k=count, h=self.heads).unbind(0)


def both(first: AttendedFrames, second: AttendedFrames) -> AttendedFrames:
    """Concatenate two sets of attended tokens."""
    return AttendedFrames(
        keys=torch.cat([first.keys, second.keys], 2),
        values=torch.cat([first.values, second.values], 2),
        mask=torch.cat([first.mask, second.mask], 1),
    )


def longer(past: KeysValues, newest: KeysValues, *, window: int) -> KeysValues:
    """Append a frame to a cache; the oldest frame is dropped when the cache is full."""
    return KeysValues(
        keys=torch.cat([past.keys, newest.keys], 1)[:, -window:],
        values=torch.cat([past.values, newest.values], 1)[:, -window:],
    )
