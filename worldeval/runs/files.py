"""JSON files of a run, read as typed records; errors name the file and the key."""

import json
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from worldeval.errors import UserError
from worldeval.files import plain

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

AGAIN = "Run `worldeval rank` with this folder as --out to write it again."


def read_record(path: Path, kind: Callable[..., T], *, remedy: str = AGAIN) -> T:
    """Read a JSON file as a record.

    Unknown keys are ignored, because a newer version may have written them.

    Args:
        path: path of the file.
        kind: a frozen dataclass, or a type such as `dict[str, float]`.
        remedy: sentence that tells the user what to do if the file does not fit.

    Raises:
        UserError: the file does not exist, is not JSON, or does not fit `kind`.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    return parse(content, kind, where=str(path), remedy=remedy)


def parse(content: bytes | str, kind: Callable[..., T], *, where: str, remedy: str = "") -> T:
    """Parse JSON text as a record; error messages begin with `where`."""
    from pydantic import ValidationError  # not needed by `worldeval --help`

    try:
        return adapter(kind).validate_json(content, strict=True)
    except ValidationError as error:
        problem = _problem(error.errors(include_url=False)[0])
        raise UserError(f"{where} {problem} {remedy}".rstrip()) from error


def fitted(content: Mapping[str, Any], kind: Callable[..., T], *, where: str) -> T:
    """Convert plain data that will be written to the record that a reader will get."""
    return parse(json.dumps(content, allow_nan=False, default=plain), kind, where=where)


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append a line of JSON to a file."""
    line = json.dumps(record, allow_nan=False, default=plain) + "\n"
    # A single write in append mode, so that two processes do not interleave their lines.
    handle = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def read_lines(path: Path, kind: Callable[..., T]) -> list[T]:
    """Read all records of a JSON Lines file, oldest first; an absent file has none.

    Raises:
        UserError: a line does not fit `kind`.
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
    """Return the validator of a kind of record, which can also describe it as JSON Schema."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _problem(error: Any) -> str:
    if error["type"] == "json_invalid":
        return f"is not readable JSON: {error['ctx']['error']}."
    if not error["loc"]:
        return f"must contain a JSON object, but contains {type(error['input']).__name__}."
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"has no key '{key}'."
    return f"is invalid: '{key}' is {error['input']!r:.80} ({error['msg'].lower()})."
