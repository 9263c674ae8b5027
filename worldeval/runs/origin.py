"""Origin of a run: recipe.yaml, and run.json with seed, versions and commit."""

import os
import platform
import re
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from worldeval import __version__
from worldeval.errors import UserError
from worldeval.files import whole_file, write_json
from worldeval.runs.files import read_record
from worldeval.runs.paths import RunPaths

PACKAGES = ("torch", "numpy", "scipy", "h5py", "av")
REMEDY = "Give another --out, or remove the file, which only records how the run was made."


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """How a run was made."""

    command: str = ""
    begun: str | None = None  # date and time (UTC) of the first part
    seed: int | None = None
    worldeval: str | None = None  # versions
    commit: str | None = None  # of the checkout; None for an installed package
    python: str | None = None
    machine: str | None = None
    packages: Mapping[str, str | None] = field(default_factory=dict)
    before: tuple["RunFacts", ...] = ()  # of the earlier parts of a resumed run, made by other code


def open_run(
    folder: Path,
    *,
    recipe: dict[str, Any],
    seed: int,
    command: str,
    resume: bool = False,
    free: Collection[str] = (),
    reread: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    now: datetime | None = None,
) -> Path:
    """Create a run folder with `recipe.yaml` and `run.json`.

    With `resume`, existing results are kept and continued. They must come from the same recipe
    (except for its keys `free`, which existing results do not depend on) and seed; otherwise a
    UserError is raised. `reread` converts a recipe of an earlier version to this one, so that added
    or removed keys do not count as differences. Without `resume`, both files are replaced, and the
    calling command replaces the rest. `now` is the date that a new run keeps.
    """
    described = yaml.safe_dump(recipe, sort_keys=False)
    paths = RunPaths(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, but a run needs a folder. Give another --out.")
    before: tuple[RunFacts, ...] = ()
    begun = None if now is None else now.astimezone(UTC).isoformat(timespec="seconds")
    if resume and paths.recipe.is_file():
        then = read_recipe(folder)
        if reread is not None:
            then = yaml.safe_load(yaml.safe_dump(reread(then)))
        if changed := _changed(then, yaml.safe_load(described), free):
            raise UserError(
                f"{folder} was begun with another recipe ({paths.recipe} differs: {changed}). "
                "Give another --out, or use the recipe that it was begun with."
            )
        if paths.facts.is_file():
            earlier = read_facts(folder)
            if earlier.seed != seed:
                raise UserError(
                    f"{folder} was begun with seed {earlier.seed}, not {seed}. "
                    f"Give another --out, or --seed {earlier.seed}."
                )
            before = (*earlier.before, replace(earlier, before=()))
            begun = earlier.begun
    with whole_file(paths.recipe) as draft:
        draft.write_text(described, encoding="utf-8")
    made = RunFacts(
        command=command,
        begun=begun,
        seed=seed,
        worldeval=__version__,
        commit=commit_of(Path(__file__).parents[2]),
        python=platform.python_version(),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        packages={name: version(name) for name in packages()},
    )
    # The code may change between the parts of a resumed run, so each part keeps its own facts.
    others = [_plain(each) for each in before if each != made]
    write_json(paths.facts, {**_plain(made), "before": others} if others else _plain(made))
    return folder


def read_facts(folder: Path) -> RunFacts:
    """Read how a run was made; all fields are unknown if there is no run.json.

    Raises:
        UserError: run.json is damaged.
    """
    path = RunPaths(folder).facts
    return read_record(path, RunFacts, remedy=REMEDY) if path.is_file() else RunFacts()


def read_recipe(folder: Path) -> dict[str, Any]:
    """Read the resolved recipe of a run, as plain data.

    Raises:
        UserError: the recipe is missing or damaged.
    """
    path = RunPaths(folder).recipe
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a run folder: {path} does not exist.") from error
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path} is not readable YAML: {problem:.200}") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path} is not a recipe: it must contain keys with values.")
    return recipe


def recipe_text(folder: Path) -> str:
    """Return the text of the recipe; empty if there is none."""
    path = RunPaths(folder).recipe
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (UnicodeError, OSError) as error:
        raise UserError(f"{path} is not readable: {error}") from error


def packages() -> tuple[str, ...]:
    """Return the packages whose versions a run records: dependencies and simulators."""
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
    """Return the installed version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit_of(checkout: Path) -> str | None:
    """Return the commit of the running checkout, `-dirty` if files differ; None for a wheel."""
    if not (checkout / ".git").exists():  # installed: an enclosing repository is a different one
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
    """Facts as stored in the file: without earlier parts, which only the last part lists."""
    return {key: value for key, value in asdict(facts).items() if key != "before"}


def _changed(then: dict[str, Any], now: dict[str, Any], free: Collection[str]) -> str:
    """List the keys in which two recipes differ, with both values; empty if there are none."""
    keys = [key for key in {**now, **then} if key not in free and now.get(key) != then.get(key)]
    return ", ".join(f"{key} was {then.get(key)!r}, now {now.get(key)!r}" for key in keys)
