"""Run folders: what was run, with which recipe, seed, versions and commit; and whole files only."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from worldeval import __version__
from worldeval.errors import UserError

PACKAGES = ("torch", "numpy", "scipy", "h5py", "av", "metaworld", "mujoco")


def open_run(
    folder: Path, *, recipe: dict[str, Any], seed: int, command: str, resume: bool = False
) -> Path:
    """Make a run folder holding `recipe.yaml` and `run.json`; refuse one made by another recipe."""
    described = yaml.safe_dump(recipe, sort_keys=False)
    kept = folder / "recipe.yaml"
    if kept.is_file() and kept.read_text() != described:
        if resume:
            raise UserError(
                f"{folder} was begun with another recipe ({kept} differs). "
                "Give another --out, or the recipe it was begun with."
            )
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(kept) as path:
        path.write_text(described)
    facts = {
        "command": command,
        "seed": seed,
        "worldeval": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "packages": {name: _version(name) for name in PACKAGES},
    }
    write_json(folder / "run.json", facts)
    return folder


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write to a temporary name beside `path`; it takes the real name only when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one piece."""
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON, naming the file in the error."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not readable JSON: {error}") from error


def _commit() -> str | None:
    here = Path(__file__).parent
    done = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
