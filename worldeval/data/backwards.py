"""Recordings from their ends to their beginnings, for models that plan back from a goal."""

from dataclasses import replace

import numpy as np

from worldeval.axes import Array, Int, UInt8
from worldeval.data.source import Rows, Source


class Backwards(Source):
    """Every episode of `source` from its last frame to its first.

    The action of a frame is the one that is undone on the way to the next: it led from there to
    here. A video model learns which frames come before a goal; success is not known, because it
    is where an episode begins.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.spec, self.findings, self.mapped = source.spec, source.findings, source.mapped
        self.heads = [replace(head, success=None) for head in source.heads]

    def rows(self, index: int) -> Rows:
        rows = self.source.rows(index)
        last = len(rows.pose) - 1
        undone = np.maximum(last - 1 - np.arange(last + 1), 0)
        return Rows(
            actions=rows.actions[undone],
            pose=rows.pose[::-1].copy(),
            times=None if rows.times is None else rows.times[-1] - rows.times[::-1],
            task=None if rows.task is None else rows.task[::-1].copy(),
        )

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        last = self.heads[index].length - 1
        own = np.arange(last + 1) if rows is None else np.asarray(rows)
        return self.source.frames(index, view, last - own)
