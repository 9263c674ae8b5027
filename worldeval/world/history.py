"""The frames of a batch so far, kept in a buffer that grows in place.

A state is never changed, yet appending a frame copies only that frame: later states of an episode
share its buffer, each knows how many of the frames are its own, and nobody writes to a frame that
somebody has. Only a second continuation of the same moment finds its next place taken, and copies.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from worldeval.axes import Float, Int

ROOM = 16  # frames of a new buffer; one that is full is doubled


@dataclass(kw_only=True)
class Taken:
    """How many places of a shared buffer belong to somebody."""

    count: int


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Tensors of consecutive frames, oldest first."""

    buffer: Float[Tensor, "b s ..."]  # `count` frames, and room for more
    count: int
    taken: Taken = field(repr=False)

    @staticmethod
    def of(frames: Float[Tensor, "b t ..."]) -> "History":
        """Begin with copies of these frames."""
        count, room = frames.shape[1], ROOM
        while room < 2 * count:
            room *= 2
        with torch.inference_mode(False):  # for states that go on outside of it, too
            buffer = frames.new_empty((len(frames), room, *frames.shape[2:]))
        buffer[:, :count] = frames
        return History(buffer=buffer, count=count, taken=Taken(count=count))

    @property
    def frames(self) -> Float[Tensor, "b t ..."]:
        """All frames, as a view that later ones never change."""
        return self.buffer[:, : self.count]

    def followed_by(self, frames: Float[Tensor, "b k ..."]) -> "History":
        """Append `k` frames."""
        count = self.count + frames.shape[1]
        if self.taken.count != self.count or count > self.buffer.shape[1]:
            return History.of(self.frames).followed_by(frames)
        self.buffer[:, self.count : count] = frames
        self.taken.count = count
        return replace(self, count=count)

    def ending_in(self, newest: Float[Tensor, "b ..."]) -> "History":
        """Replace the newest frame."""
        copied = History.of(self.frames)
        copied.buffer[:, copied.count - 1] = newest
        return copied

    def rows(self, rows: slice | Int[Tensor, " n"]) -> "History":
        """Select episodes of the batch; rows may repeat."""
        return History.of(self.frames[rows])
