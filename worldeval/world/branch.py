"""Branching states: select or repeat episodes of a batch, and update them with observations.

A search imagines many continuations of the same moment. Starting again from that moment would lose
the earlier commands, the episode's first frame and the memory; a branch keeps them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from worldeval.axes import Array, Float32, Int, UInt8


@runtime_checkable
class Branching(Protocol):
    """A world whose states can be branched, and updated with real observations on the way."""

    def branch(self, state: Any, rows: Int[Array, " n"]) -> Any:
        """Select episodes of the batch; rows may repeat."""
        ...

    def observe(
        self,
        state: Any,
        frames: Mapping[str, UInt8[Array, "b h w 3"]],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
    ) -> Any:
        """Replace the state's newest frame and pose with what is observed now."""
        ...


@runtime_checkable
class SharedFrames(Protocol):
    """A part of a state that selects rows itself, because its buffer is shared."""

    buffer: Tensor

    def rows(self, rows: slice | Int[Tensor, " n"]) -> Any: ...


def rows_of(record: Any, rows: slice | Int[Tensor, " n"]) -> Any:
    """Select rows of a record; rows may repeat.

    A record is a dataclass of tensors whose first axis is the batch, of lists with one entry per
    row (generators, which are copied so that every branch draws what the episode itself would
    draw), of lists of such records, of such records, and of `SharedFrames`.
    """
    own = [each.name for each in fields(record)]
    return replace(record, **{name: _part(getattr(record, name), rows) for name in own})


def _part(value: Any, rows: slice | Int[Tensor, " n"]) -> Any:
    if isinstance(value, Tensor):
        return value[rows if isinstance(rows, slice) else rows.to(value.device)]
    if isinstance(value, SharedFrames):
        return value.rows(rows if isinstance(rows, slice) else rows.to(value.buffer.device))
    if isinstance(value, list):
        if all(is_dataclass(each) for each in value):
            return [rows_of(each, rows) for each in value]
        chosen = value[rows] if isinstance(rows, slice) else [value[int(row)] for row in rows]
        return [_copied(each) for each in chosen]
    return rows_of(value, rows)


def _copied(generator: torch.Generator) -> torch.Generator:
    return generator.clone_state()
