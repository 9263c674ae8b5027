"""What a frame's tokens attend to, and the attention itself, in the forms that are fastest where.

`AttendedFrames` are copies with a mask: training on a CPU. `Slots` are a slice of a cache:
roll-outs, without masks and copies. `Bands` are whole sequences under a block mask: training on a
GPU.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from worldeval.axes import Bool, Float

FLEXIBLE = {"cuda"}  # kinds of device on which sequences attend under a block mask


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
    mask: Bool[Tensor, "m p"] | None  # True where there is a token; None: everywhere
    turn: Float[Tensor, "t 2 r"] | None = None

    def attend(self, query: Float[Tensor, "m h n e"], own: KeysValues) -> Float[Tensor, "m h n e"]:
        mask = None
        if self.mask is not None:
            mask = F.pad(self.mask, (0, query.shape[2]), value=True)[:, None, None]
        return F.scaled_dot_product_attention(
            query,
            torch.cat([self.keys, own.keys[:, 0]], 2),
            torch.cat([self.values, own.values[:, 0]], 2),
            attn_mask=mask,
        )


def both(first: AttendedFrames, second: AttendedFrames) -> AttendedFrames:
    """Concatenate two sets of attended tokens."""
    masks = [
        each.keys.new_ones(len(each.keys), each.keys.shape[2], dtype=torch.bool)
        if each.mask is None
        else each.mask
        for each in (first, second)
    ]
    return AttendedFrames(
        keys=torch.cat([first.keys, second.keys], 2),
        values=torch.cat([first.values, second.values], 2),
        mask=torch.cat(masks, 1),
        turn=first.turn,
    )


@dataclass(frozen=True, kw_only=True)
class Slots:
    """A slice of a cache, whose last `n` places are for the frame's own keys and values."""

    keys: Float[Tensor, "b h p e"]
    values: Float[Tensor, "b h p e"]
    turn: Float[Tensor, "t 2 r"] | None = None

    def attend(self, query: Float[Tensor, "m h n e"], own: KeysValues) -> Float[Tensor, "m h n e"]:
        cells = query.shape[2]
        self.keys[:, :, -cells:] = own.keys[:, 0]
        self.values[:, :, -cells:] = own.values[:, 0]
        keys, values = self.keys.to(query.dtype), self.values.to(query.dtype)
        return F.scaled_dot_product_attention(query, keys, values)

    def first(self, tokens: int) -> "Slots":
        """The first `tokens` places."""
        return Slots(
            keys=self.keys[:, :, :tokens], values=self.values[:, :, :tokens], turn=self.turn
        )

    def apart(self, cells: int) -> AttendedFrames:
        """All but the frame's own places, for code that may not write to them."""
        return AttendedFrames(
            keys=self.keys[:, :, :-cells],
            values=self.values[:, :, :-cells],
            mask=None,
            turn=self.turn,
        )


@dataclass(frozen=True, kw_only=True)
class Bands:
    """A sequence's settled frames, and what each frame reads from memory.

    Frame i attends to the settled frames i - window to i - 1, to its own and to its memory. Nothing
    is copied per frame; tiles of the scores that no frame needs are not computed (Dong et al.,
    "Flex Attention", 2024).
    """

    settled: KeysValues
    memory: AttendedFrames | None  # of m = b t frames
    window: int
    turn: Float[Tensor, "t 2 r"] | None

    def attend(self, query: Float[Tensor, "m h n e"], own: KeysValues) -> Float[Tensor, "m h n e"]:
        frames, cells = self.settled.keys.shape[1], query.shape[2]

        def together(each: Float[Tensor, "m h p e"]) -> Float[Tensor, "b h q e"]:
            return rearrange(each, "(b t) h p e -> b h (t p) e", t=frames)

        keys = [rearrange(self.settled.keys, "b t h n e -> b h (t n) e"), together(own.keys[:, 0])]
        values = [
            rearrange(self.settled.values, "b t h n e -> b h (t n) e"),
            together(own.values[:, 0]),
        ]
        read, there = 0, None
        if self.memory is not None:
            keys.append(together(self.memory.keys))
            values.append(together(self.memory.values))
            read = self.memory.keys.shape[2]
            if self.memory.mask is not None:
                there = rearrange(self.memory.mask, "(b t) p -> b (t p)", t=frames)
        begin = 2 * frames * cells  # of the memory's tokens
        mask = bands(frames, cells, read, self.window, query.device)
        attend = _flexible(query.device.type)
        found = attend(
            together(query).contiguous(),
            torch.cat(keys, 2).to(query.dtype),
            torch.cat(values, 2).to(query.dtype),
            # Memory that is not there is left out.
            score_mod=None
            if there is None
            else lambda score, b, h, q, place: torch.where(
                there[b, (place - begin).clamp_min(0)] | (place < begin), score, -torch.inf
            ),
            block_mask=mask,
        )
        return rearrange(found, "b h (t n) e -> (b t) h n e", t=frames)


Seen = AttendedFrames | Slots | Bands  # what one block's tokens attend to besides their frame's


@lru_cache(maxsize=16)
def bands(frames: int, cells: int, read: int, window: int, device: torch.device) -> Any:
    """Who attends to whom, of `frames` frames of `cells` tokens that read `read` memory tokens."""
    from torch.nn.attention.flex_attention import create_block_mask  # brings torch's compiler

    every = frames * cells
    # Lambdas here and in `attend`: checks of shapes around functions could not be compiled.
    before = lambda frame, place: (  # noqa: E731
        (place < every) & (place // cells < frame) & (place // cells >= frame - window)
    )
    itself = lambda frame, place: (place >= every) & ((place - every) // cells == frame)  # noqa: E731
    memory = lambda frame, place: (  # noqa: E731
        (place >= 2 * every) & ((place - 2 * every) // max(read, 1) == frame)
    )
    return create_block_mask(
        lambda b, h, q, place: (
            before(q // cells, place)
            | ((place < 2 * every) & itself(q // cells, place))
            | memory(q // cells, place)
        ),
        None,
        None,
        every,
        2 * every + frames * read,
        device=str(device),
    )


@cache
def _flexible(kind: str) -> Any:
    """The attention under a block mask: one kernel on a GPU, plain products elsewhere."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False) if kind == "cuda" else flex_attention
