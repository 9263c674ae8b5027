"""States that branch: some episodes of a batch, several of one, told what is really there.

A search imagines many continuations of the same moment. Beginning anew at that moment would forget
what the hand was told before, where the episode began and what memory holds; a branch keeps it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from worldeval.axes import Array, Float32, Int, UInt8


@runtime_checkable
class Branching(Protocol):
    """A world whose states branch, and that may be told, on the way, what is really there."""

    def branch(self, state: Any, rows: Int[Array, " n"]) -> Any:
        """Some episodes of the batch, repeated ones included."""
        ...

    def observe(
        self,
        state: Any,
        frames: Mapping[str, UInt8[Array, "b h w 3"]],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
    ) -> Any:
        """The state with what is seen now in the place of its newest frame and pose."""
        ...


def rows_of(record: Any, rows: slice | Int[Tensor, " n"]) -> Any:
    """Some rows of a record, repeated ones included.

    A record is a dataclass of tensors whose first axis is the batch, of lists with an entry a row
    (generators, which are copied: every branch draws as the episode itself would), of lists of such
    records, and of such records.
    """
    own = [each.name for each in fields(record)]
    return replace(record, **{name: _part(getattr(record, name), rows) for name in own})


def _part(value: Any, rows: slice | Int[Tensor, " n"]) -> Any:
    if isinstance(value, Tensor):
        return value[rows]
    if isinstance(value, list):
        if all(is_dataclass(each) for each in value):
            return [rows_of(each, rows) for each in value]
        chosen = value[rows] if isinstance(rows, slice) else [value[int(row)] for row in rows]
        return [_copied(each) for each in chosen]
    return rows_of(value, rows)


def _copied(generator: torch.Generator) -> torch.Generator:
    return generator.clone_state()
