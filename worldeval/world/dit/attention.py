"""A transformer block in which a frame's tokens attend to each other and to earlier frames.

adaLN-zero modulation: Peebles & Xie, "Scalable Diffusion Models with Transformers" (2023). Keys
say in one of two ways how old a past frame is. With `age: learned`, they carry a learned vector for
their age (Shaw et al., "Self-Attention with Relative Position Representations", 2018), added when
keys are read. With `age: rotary`, keys and queries are turned by the number of their frame (Su et
al., "RoFormer", 2021), so that a cached key is final: it is read again where it lies.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Bool, Float
from worldeval.world.dit.attended import AttendedFrames, KeysValues, Seen
from worldeval.world.layers import HeadNorm, modulated

ROTARY_BASE = 100.0  # the slowest turn is this many times slower than one radian a frame


class Block(nn.Module):
    """Attention within the frame and to `seen` tokens, then an MLP; the condition gates both."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        condition: int,
        window: int,
        remembers: bool,
        rotary: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.modulation = nn.Linear(condition, 6 * width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.read_key_value = nn.Linear(width, 2 * width) if remembers else None
        # Normalised queries and keys keep attention from saturating at high learning rates.
        self.query_norm = HeadNorm(width // heads, eps=1e-6)
        self.key_norm = HeadNorm(width // heads, eps=1e-6)
        self.lag = (
            None if rotary else nn.Parameter(0.02 * torch.randn(window, heads, 1, width // heads))
        )
        self.mix = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, x: Float[Tensor, "m n u"], condition: Float[Tensor, "m c"], seen: Seen
    ) -> Float[Tensor, "m n u"]:
        """Apply the block to the tokens of `m` frames."""
        return self.settle(x, condition, seen)[0]

    def settle(
        self, x: Float[Tensor, "m n u"], condition: Float[Tensor, "m c"], seen: Seen
    ) -> tuple[Float[Tensor, "m n u"], KeysValues]:
        """Apply the block and return the frames' own keys and values as well (t = 1)."""
        parts = self.modulation(condition)[:, None].chunk(6, 2)
        given = modulated(x, *parts[:2])
        keys, values = self.own(given, seen.turn)
        kept = KeysValues(keys=keys[:, None], values=values[:, None])
        return self._rest(x, given, parts, kept, seen), kept

    def settle_sequence(
        self,
        x: Float[Tensor, "m n u"],
        condition: Float[Tensor, "m c"],
        *,
        frames: int,
        turn: Float[Tensor, "t 2 r"] | None,
    ) -> tuple[Float[Tensor, "m n u"], KeysValues]:
        """Apply `settle` to `frames` consecutive frames (m = b t); each sees those before it."""
        parts = self.modulation(condition)[:, None].chunk(6, 2)
        given = modulated(x, *parts[:2])
        keys, values = self.own(given, turn)
        kept = KeysValues(
            keys=keys.unflatten(0, (-1, frames)), values=values.unflatten(0, (-1, frames))
        )
        alone = KeysValues(keys=keys[:, None], values=values[:, None])
        return self._rest(x, given, parts, alone, self.before_each(kept, turn)), kept

    def own(
        self, given: Float[Tensor, "m n u"], turn: Float[Tensor, "t 2 r"] | None
    ) -> tuple[Tensor, Tensor]:
        """Compute keys and values of the frame itself."""
        keys, values = self._split(self.key_value(given), 2)
        return turned(self.key_norm(keys), turn), values

    def read(
        self,
        tokens: Float[Tensor, "m p u"],
        mask: Bool[Tensor, "m p"] | None,
        turn: Float[Tensor, "t 2 r"] | None,
    ) -> AttendedFrames:
        """Compute keys and values of memory tokens, which are read but never updated.

        They are turned with the frame that reads them: their own tokens say how old they are.
        """
        assert self.read_key_value is not None
        keys, values = self._split(self.read_key_value(tokens), 2)
        return AttendedFrames(
            keys=turned(self.key_norm(keys), turn), values=values, mask=mask, turn=turn
        )

    def lagging(self, keys: Float[Tensor, "b h p e"], frames: int) -> Float[Tensor, "b h p e"]:
        """The keys of the newest `frames` frames, oldest first, as the next frame sees them."""
        if self.lag is None:
            return keys
        lag = self.lag[:frames].flip(0).to(keys.dtype)
        return (keys.unflatten(2, (frames, -1)) + rearrange(lag, "t h n e -> h t n e")).flatten(
            2, 3
        )

    def before_each(
        self, sequence: KeysValues, turn: Float[Tensor, "t 2 r"] | None
    ) -> AttendedFrames:
        """For every frame of a sequence, copy the window of frames before it (m = b t)."""
        window, (batch, frames, _, cells, _) = self.window, sequence.keys.shape

        def cut(each: Tensor) -> Tensor:
            padded = F.pad(each, (0, 0, 0, 0, 0, 0, window, 0))[:, :-1]
            # The oldest frame of a window comes first.
            return rearrange(padded.unfold(1, window, 1), "b t h n e w -> (b t) w h n e")

        slot = torch.arange(window, device=sequence.keys.device)
        there = torch.arange(frames, device=slot.device)[:, None] - window + slot >= 0
        keys, values = cut(sequence.keys), cut(sequence.values)
        if self.lag is not None:
            keys = keys + self.lag.flip(0).to(keys.dtype)
        mask = there.repeat_interleave(cells, 1).repeat(batch, 1)
        keys, values = (rearrange(each, "m w h n e -> m h (w n) e") for each in (keys, values))
        return AttendedFrames(keys=keys, values=values, mask=mask, turn=turn)

    def _rest(
        self,
        x: Float[Tensor, "m n u"],
        given: Float[Tensor, "m n u"],
        parts: tuple[Tensor, ...],
        own: KeysValues,
        seen: Seen,
    ) -> Float[Tensor, "m n u"]:
        (query,) = self._split(self.query(given), 1)
        found = seen.attend(turned(self.query_norm(query), seen.turn), own)
        x = x + parts[2] * self.mix(rearrange(found, "m h n e -> m n (h e)"))
        hidden = F.gelu(self.widen(modulated(x, *parts[3:5])), approximate="tanh")
        return x + parts[5] * self.narrow(hidden)

    def _split(self, x: Float[Tensor, "m n kd"], count: int) -> tuple[Tensor, ...]:
        return rearrange(x, "m n (k h e) -> k m h n e", k=count, h=self.heads).unbind(0)


def turns(frame: Float[Tensor, " t"], width: int) -> Float[Tensor, "t 2 r"]:
    """Cosines and sines by which the keys of these frames are turned, for heads of `width`.

    Only half of the pairs of numbers turn: the rest compare tokens regardless of age.
    """
    pairs = width // 4
    rate = ROTARY_BASE ** (-torch.arange(pairs, device=frame.device) / pairs)
    angle = frame[:, None] * rate
    return torch.stack([angle.cos(), angle.sin()], 1)


def turned(
    x: Float[Tensor, "m h n e"], turn: Float[Tensor, "t 2 r"] | None
) -> Float[Tensor, "m h n e"]:
    """Turn pairs of numbers by the angles of every row's frame (m = b t); the rest stays."""
    if turn is None:
        return x
    pairs = turn.shape[2]
    cos, sin = turn[:, :, None, None].to(x.dtype).unbind(1)
    rows = x.unflatten(0, (-1, len(turn)))
    one, two, rest = rows.split([pairs, pairs, x.shape[3] - 2 * pairs], 4)
    return torch.cat([one * cos - two * sin, one * sin + two * cos, rest], 4).flatten(0, 1)
