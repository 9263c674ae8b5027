"""Run folders: what was run, with which recipe, seed, versions and commit; and whole files only."""

import json
import os
import platform
import secrets
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from worldeval import __version__
from worldeval.errors import UserError

PACKAGES = ("torch", "numpy", "scipy", "h5py", "av", "metaworld", "mujoco")


def open_run(
    folder: Path,
    *,
    recipe: dict[str, Any],
    seed: int,
    command: str,
    resume: bool = False,
    free: Collection[str] = (),
) -> Path:
    """Make a run folder holding `recipe.yaml` and `run.json`.

    With `resume` the results in it are kept and continued, so they must come from the same recipe
    (its keys `free` aside, which results in hand do not depend on) and seed: UserError otherwise.
    Without, both files are replaced, and the verb replaces the rest.
    """
    described = yaml.safe_dump(recipe, sort_keys=False)
    kept, facts = folder / "recipe.yaml", folder / "run.json"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; a run needs a folder. Give another --out.")
    before: list[dict[str, Any]] = []
    if resume and kept.is_file():
        if changed := _changed(kept, yaml.safe_load(described), free):
            raise UserError(
                f"{folder} was begun with another recipe ({kept} differs: {changed}). "
                "Give another --out, or the recipe it was begun with."
            )
        if facts.is_file():
            earlier = read_json(facts)
            if earlier["seed"] != seed:
                raise UserError(
                    f"{folder} was begun with seed {earlier['seed']}, not {seed}. "
                    f"Give another --out, or --seed {earlier['seed']}."
                )
            before = [*earlier.pop("before", []), earlier]
    with whole_file(kept) as draft:
        draft.write_text(described)
    now = {
        "command": command,
        "seed": seed,
        "worldeval": __version__,
        "commit": commit_of(Path(__file__).parent.parent),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "packages": {name: version(name) for name in PACKAGES},
    }
    # The code may have changed between the parts of a resumed run: each part keeps its own facts.
    others = [each for each in before if each != now]
    write_json(facts, {**now, "before": others} if others else now)
    return folder


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
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not readable JSON: {error}") from error


def plain(value: Any) -> Any:
    """What JSON has no word for: a path as its text, a numpy number or array as plain numbers."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def version(package: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _changed(kept: Path, now: dict[str, Any], free: Collection[str]) -> str:
    """The keys in which a recipe differs from the one kept, with both values; empty if in none."""
    try:
        then = yaml.safe_load(kept.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{kept} is not readable YAML: {error}") from error
    then = then if isinstance(then, dict) else {}
    keys = [key for key in {**now, **then} if key not in free and now.get(key) != then.get(key)]
    return ", ".join(f"{key} was {then.get(key)!r}, now {now.get(key)!r}" for key in keys)


def commit_of(checkout: Path) -> str | None:
    """The commit of the checkout that runs, `-dirty` where files differ; None for a wheel."""
    if not (checkout / ".git").exists():  # installed: a repository around it is not ours
        return None
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *describe], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() or None
