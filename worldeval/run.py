"""Files written whole or not at all, and JSON."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldeval.errors import UserError


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Write to a temporary name beside `path`; it takes the real name only when all went well.

    `durable` waits until the disk has it: then not even a power cut leaves an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, not this process's number: another machine may write to the same folder.
    draft = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield draft
        if durable:
            _flush(draft)
        os.replace(draft, path)
        if durable:
            _flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one piece; numpy numbers and paths may stand in it, NaN may not."""
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, indent=2, allow_nan=False, default=plain) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON, naming the file in the error."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    # Text that is no UTF-8 or no JSON; nesting that no file of ours has; a folder of that name.
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path} is not readable JSON: {error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """Read JSON that must be an object."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object; it holds {type(content).__name__}.")
    return content


def plain(value: Any) -> Any:
    """What JSON has no word for: a path as its text, a numpy number or array as plain numbers."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
