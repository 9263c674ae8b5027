"""Files of a run as typed records: what does not fit is one clear error that names file and key."""

import json
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from worldeval.errors import UserError
from worldeval.run import plain

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

AGAIN = "`worldeval rank` with this folder as --out writes it anew."


def read_record(path: Path, kind: Callable[..., T], *, remedy: str = AGAIN) -> T:
    """A JSON file as a record.

    Keys that the record lacks are ignored: a newer version may have written them.

    Args:
        path: of the file.
        kind: a frozen dataclass, or a type such as `dict[str, float]`.
        remedy: what to do where the file does not fit; a sentence.

    Raises:
        UserError: there is no such file, it is no JSON, or its content is none of this kind.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    return parse(content, kind, where=str(path), remedy=remedy)


def parse(content: bytes | str, kind: Callable[..., T], *, where: str, remedy: str = "") -> T:
    """JSON text as a record; errors begin with `where`."""
    from pydantic import ValidationError  # not needed by `worldeval --help`

    try:
        return adapter(kind).validate_json(content, strict=True)
    except ValidationError as error:
        problem = _problem(error.errors(include_url=False)[0])
        raise UserError(f"{where} {problem} {remedy}".rstrip()) from error


def fitted(content: Mapping[str, Any], kind: Callable[..., T], *, where: str) -> T:
    """Plain data that are about to be written, as the record that a reader will find."""
    return parse(json.dumps(content, allow_nan=False, default=plain), kind, where=where)


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line of JSON to a file."""
    line = json.dumps(record, allow_nan=False, default=plain) + "\n"
    # One write in append mode: two processes at once do not cut into each other's lines.
    handle = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def read_lines(path: Path, kind: Callable[..., T]) -> list[T]:
    """Every line of a file of JSON lines, oldest first; none without the file.

    Raises:
        UserError: a line is no record of this kind.
    """
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines()
    return [
        parse(line, kind, where=f"{path}, line {place}", remedy="Remove the line.")
        for place, line in enumerate(lines, start=1)
    ]


@lru_cache
def adapter(kind: Any) -> "TypeAdapter[Any]":
    """What validates a kind of record and describes it as JSON Schema."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _problem(error: Any) -> str:
    if error["type"] == "json_invalid":
        return f"is not readable JSON: {error['ctx']['error']}."
    if not error["loc"]:
        return f"must hold a JSON object; it holds {type(error['input']).__name__}."
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"lacks the key '{key}'."
    return f"does not fit: '{key}' is {error['input']!r:.80} ({error['msg'].lower()})."
