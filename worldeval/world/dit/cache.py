"""Keys and values of the newest frames of a roll-out, in one buffer that states share.

Slots are consecutive frames. A frame being imagined writes its keys and values right after those of
its window and its memory, and attends to one slice of the buffer, so that nothing is copied or
masked. A settled frame takes the next slot. States before it keep theirs, as in `History`; when no
slot is left, the window moves to a new buffer.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from worldeval.axes import Float, Int
from worldeval.world.history import Taken

SPARE = 8  # slots beyond those of a window: frames until it moves


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameCache:
    """The keys and values of every block; `end - begin` frames, at most `window`."""

    buffer: Float[Tensor, "b l 2 h s e"]  # l blocks; keys, then values; s = slots x cells
    cells: int  # tokens of a frame
    window: int
    begin: int
    end: int
    age: int  # frames before the next one
    taken: Taken = field(repr=False)

    @staticmethod
    def empty(
        batch: int, *, blocks: int, heads: int, cells: int, width: int, window: int, like: Tensor
    ) -> "FrameCache":
        """A cache of no frame, with the dtype and device of `like`."""
        with torch.inference_mode(False):
            buffer = like.new_zeros((batch, blocks, 2, heads, 0, width))
        return FrameCache(
            buffer=buffer, cells=cells, window=window, begin=0, end=0, age=0, taken=Taken(count=0)
        )

    @property
    def frames(self) -> int:
        """Number of cached frames."""
        return self.end - self.begin

    def with_room(self, frames: int, dtype: torch.dtype) -> "FrameCache":
        """The same frames, with `frames` slots behind them that nobody else writes to."""
        last = (self.end + frames) * self.cells
        fits = self.taken.count == self.end and self.buffer.shape[4] >= last
        if fits and self.buffer.dtype == dtype:
            return self
        count, tokens = self.frames, self.frames * self.cells
        batch, blocks, two, heads, _, width = self.buffer.shape
        slots = (self.window + frames + SPARE) * self.cells
        with torch.inference_mode(False):
            moved = self.buffer.new_zeros((batch, blocks, two, heads, slots, width), dtype=dtype)
        moved[..., :tokens, :] = self.slots(self.begin, self.end)
        return replace(self, buffer=moved, begin=0, end=count, taken=Taken(count=count))

    def slots(self, begin: int, end: int) -> Float[Tensor, "b l 2 h s e"]:
        """A view of some slots."""
        return self.buffer[..., begin * self.cells : end * self.cells, :]

    def settled(self) -> "FrameCache":
        """The cache after the frame whose keys and values are now in the slot `end`."""
        end = self.taken.count = self.end + 1
        begin = max(self.begin, end - self.window)
        return replace(self, begin=begin, end=end, age=self.age + 1)

    def rows(self, rows: slice | Int[Tensor, " n"]) -> "FrameCache":
        """Select episodes of the batch; rows may repeat."""
        count = self.frames
        return replace(
            self,
            buffer=self.slots(self.begin, self.end)[rows],
            begin=0,
            end=count,
            taken=Taken(count=count),
        )
