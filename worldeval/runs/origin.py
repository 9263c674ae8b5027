"""What was run: recipe.yaml and run.json, with seed, versions and commit."""

import os
import platform
import re
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from worldeval import __version__
from worldeval.errors import UserError
from worldeval.run import whole_file, write_json
from worldeval.runs.files import read_record
from worldeval.runs.paths import RunPaths

PACKAGES = ("torch", "numpy", "scipy", "h5py", "av")
REMEDY = "Give another --out; or remove the file, which only says how the run was made."


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """How a run was made."""

    command: str = ""
    seed: int | None = None
    worldeval: str | None = None  # versions
    commit: str | None = None  # of the checkout; None for an installed package
    python: str | None = None
    machine: str | None = None
    packages: Mapping[str, str | None] = field(default_factory=dict)
    before: tuple["RunFacts", ...] = ()  # of the parts that were made before, by other code


def open_run(
    folder: Path,
    *,
    recipe: dict[str, Any],
    seed: int,
    command: str,
    resume: bool = False,
    free: Collection[str] = (),
    reread: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Path:
    """Make a run folder holding `recipe.yaml` and `run.json`.

    With `resume` the results in it are kept and continued, so they must come from the same recipe
    (its keys `free` aside, which results in hand do not depend on) and seed: UserError otherwise.
    `reread` writes a recipe of an earlier version as this one does, so that keys that came or went
    since are no difference. Without `resume` both files are replaced, and the verb replaces the
    rest.
    """
    described = yaml.safe_dump(recipe, sort_keys=False)
    paths = RunPaths(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; a run needs a folder. Give another --out.")
    before: tuple[RunFacts, ...] = ()
    if resume and paths.recipe.is_file():
        then = read_recipe(folder)
        if reread is not None:
            then = yaml.safe_load(yaml.safe_dump(reread(then)))
        if changed := _changed(then, yaml.safe_load(described), free):
            raise UserError(
                f"{folder} was begun with another recipe ({paths.recipe} differs: {changed}). "
                "Give another --out, or the recipe it was begun with."
            )
        if paths.facts.is_file():
            earlier = read_facts(folder)
            if earlier.seed != seed:
                raise UserError(
                    f"{folder} was begun with seed {earlier.seed}, not {seed}. "
                    f"Give another --out, or --seed {earlier.seed}."
                )
            before = (*earlier.before, replace(earlier, before=()))
    with whole_file(paths.recipe) as draft:
        draft.write_text(described, encoding="utf-8")
    now = RunFacts(
        command=command,
        seed=seed,
        worldeval=__version__,
        commit=commit_of(Path(__file__).parents[2]),
        python=platform.python_version(),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        packages={name: version(name) for name in packages()},
    )
    # The code may have changed between the parts of a resumed run: each part keeps its own facts.
    others = [_plain(each) for each in before if each != now]
    write_json(paths.facts, {**_plain(now), "before": others} if others else _plain(now))
    return folder


def read_facts(folder: Path) -> RunFacts:
    """How a run was made; all unknown where nothing says so.

    Raises:
        UserError: run.json is damaged.
    """
    path = RunPaths(folder).facts
    return read_record(path, RunFacts, remedy=REMEDY) if path.is_file() else RunFacts()


def read_recipe(folder: Path) -> dict[str, Any]:
    """The resolved recipe that a run was made by, as plain data.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = RunPaths(folder).recipe
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder} is no run folder: {path} does not exist.") from error
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path} is not readable YAML: {problem:.200}") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path} is no recipe: it must hold keys with values.")
    return recipe


def recipe_text(folder: Path) -> str:
    """The recipe as it was written; empty where there is none."""
    path = RunPaths(folder).recipe
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (UnicodeError, OSError) as error:
        raise UserError(f"{path} is not readable: {error}") from error


def packages() -> tuple[str, ...]:
    """Packages whose versions a run keeps: those that compute, and those of the simulators."""
    try:
        declared = metadata.requires("worldeval") or []
    except metadata.PackageNotFoundError:
        declared = []
    simulators = [
        re.split(r"[^\w-]", line, maxsplit=1)[0]
        for line in declared
        if re.search(r"extra == ['\"]sim['\"]", line)
    ]
    return (*PACKAGES, *simulators)


def version(package: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


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


def _plain(facts: RunFacts) -> dict[str, Any]:
    """As it stands in the file: without the parts before, which only the last one names."""
    return {key: value for key, value in asdict(facts).items() if key != "before"}


def _changed(then: dict[str, Any], now: dict[str, Any], free: Collection[str]) -> str:
    """The keys in which a recipe differs from the one kept, with both values; empty if in none."""
    keys = [key for key in {**now, **then} if key not in free and now.get(key) != then.get(key)]
    return ", ".join(f"{key} was {then.get(key)!r}, now {now.get(key)!r}" for key in keys)
