"""Atomic writing of files, and reading and writing of JSON."""

import json
import os
import re
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldeval.errors import UserError

LONGEST = 60  # characters of a file name that is made of a text
_UMASK = os.umask(0o022)
os.umask(_UMASK)  # it can be read only by setting it


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Write to a temporary file beside `path`, which is renamed only if the block succeeds.

    With `durable`, wait until the disk has stored it, so that a power cut leaves no empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, not this process's number: another machine may write to the same folder.
    draft = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield draft
        if draft.is_file():  # safetensors writes files that only their owner can read
            draft.chmod(0o666 & ~_UMASK)
        if durable:
            _flush(draft)
        os.replace(draft, path)
        if durable:
            _flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def user_cache() -> Path:
    """Return the folder of what can be made again, in the user's cache."""
    # Not the shared temporary folder, where others might create a folder of that name first.
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "worldeval"


def file_name(text: str) -> str:
    """Turn any text, such as an instruction, into a file name of its own; plain names are kept."""
    plain_text = re.sub(r"[^\w.-]+", "-", text).strip("-.")[:LONGEST]
    if plain_text == text:
        return text
    return f"{plain_text}-{zlib.crc32(text.encode()):08x}".lstrip("-")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically. NumPy values and paths are converted; NaN is refused."""
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, indent=2, allow_nan=False, default=plain) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; errors name the file."""
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
        raise UserError(
            f"{path} must contain a JSON object, but contains {type(content).__name__}."
        )
    return content


def plain(value: Any) -> Any:
    """Convert what JSON does not support: paths to texts, NumPy numbers and arrays to numbers."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not a valid number in JSON")


def _flush(path: Path) -> None:
    """Wait until the disk has stored a file's content or a folder's list of names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
