"""Custom dataset readers: `--format ./mine.py:Reader` or `package.module:Reader`."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.finding import DataError, DataFinding
from worldeval.data.source import BLOCK, Head, Rows, Source, SourceSpec
from worldeval.errors import UserError
from worldeval.user_code import load_code

NEEDED = ("spec", "heads", "rows", "frames")


def is_code(kind: str) -> bool:
    """Whether a format is the address of a Python class."""
    return ":" in kind


def own_reader(ref: str) -> Callable[..., Source]:
    """Load the class or function at `ref`, which returns a source when called with a path.

    The returned source is checked before use: its first episode must be valid, otherwise an error
    says what to fix. Only addresses typed by the user are loaded; for recipes see
    `RecordedRecipe`.

    Raises:
        UserError: `ref` does not exist, or cannot be called with a path.
    """
    make = load_code(ref, "reader")
    if not callable(make):
        raise UserError(
            f"{ref} is a {type(make).__name__}; it must be a class that is called with a path."
        )
    return _Checked(make, ref)


class _Checked:
    """Wrapper that calls the user's class and checks what it returns."""

    def __init__(self, make: Callable[..., Any], ref: str) -> None:
        self._make, self._ref = make, ref
        self.UNDERSTANDS = tuple(getattr(make, "UNDERSTANDS", ()))
        self.__signature__ = inspect.signature(make)

    def __call__(self, *arguments: Any) -> Source:
        try:
            self.__signature__.bind(*arguments)
        except TypeError as error:
            raise UserError(
                f"{self._ref} cannot be made from a path alone: {error}. It is called as "
                f"{self._ref.rpartition(':')[2]}(path), or as (path, given) if it supports maps."
            ) from error
        source = self._make(*arguments)
        for problem in _problems(source):
            raise UserError(f"{self._ref}: {problem} See docs/data.md for a complete example.")
        return OwnedSource(source)


class OwnedSource(Source):
    """A user's source, of which every array is copied.

    The user's code may fill one array again and again, and callers may change what they receive.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.spec, self.heads, self.mapped = source.spec, source.heads, source.mapped
        self.findings = getattr(source, "findings", [])

    def rows(self, index: int) -> Rows:
        rows = self.source.rows(index)
        given = {field.name: getattr(rows, field.name) for field in fields(rows)}
        return replace(rows, **{k: np.array(v) for k, v in given.items() if v is not None})

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        return np.array(self.source.frames(index, view, None if rows is None else rows.copy()))

    def blocks(
        self, index: int, view: str, *, size: int = BLOCK
    ) -> Iterator[UInt8[Array, "n h w 3"]]:
        return (np.array(block) for block in self.source.blocks(index, view, size=size))

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        return np.array(self.source.column(index, key))

    def examine(self) -> list[DataFinding]:
        return list(self.source.examine())

    def has_latents(self, index: int) -> bool:
        return self.source.has_latents(index)

    def latents(self, index: int) -> dict[str, Float32[Array, "t d h w"]]:
        return {view: np.array(own) for view, own in self.source.latents(index).items()}


def _problems(source: Any) -> Iterator[str]:
    """Describe why an object is not a valid source, the first problem first."""
    missing = [name for name in NEEDED if not hasattr(source, name)]
    if missing:
        yield f"it has no {', '.join(missing)}."
        return
    if not isinstance(source, Source):
        yield "its class does not derive from worldeval.data.source.Source."
        return
    if not isinstance(source.spec, SourceSpec):
        yield f"spec is a {type(source.spec).__name__}, not a SourceSpec."
        return
    if not source.heads or not all(isinstance(head, Head) for head in source.heads):
        yield "heads is empty, or contains something other than Head records."
        return
    yield from _of_first(source)


def _of_first(source: Source) -> Iterator[str]:
    head, spec = source.heads[0], source.spec
    rows = source.rows(0)
    for name, values, columns in (
        ("actions", rows.actions, spec.action_names),
        ("pose", rows.pose, spec.pose_names),
    ):
        wanted = (head.length, len(columns))
        if not isinstance(values, np.ndarray) or values.shape != wanted:
            yield f"{name} of episode '{head.id}' are {_said(values)}; expected {wanted}."
        elif values.dtype != np.float32:
            yield f"{name} are {values.dtype}; expected float32."
    for view, size in spec.views.items():
        try:
            frames = source.frames(0, view, np.array([0]))
        except DataError as error:
            yield str(error)
            continue
        wanted = (1, *size, 3)
        if not isinstance(frames, np.ndarray) or frames.shape != wanted:
            yield f"frames(0, '{view}', [0]) are {_said(frames)}; expected {wanted}."
        elif frames.dtype != np.uint8:
            yield f"frames of '{view}' are {frames.dtype}; expected uint8 (0-255)."


def _said(values: Array | Any) -> str:
    return str(values.shape) if isinstance(values, np.ndarray) else type(values).__name__
