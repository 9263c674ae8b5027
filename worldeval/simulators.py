"""Simulators that ship with worldeval: every package in `envs/` is one, under its own name.

Such a package has the modules `env`, with `make(task, *, size, steps_per_frame)`, which returns an
`Environment`, and `available()`, which says why it cannot run here; and `recipe`, with a
`CollectRecipe` whose `collect` records episodes by scripted drivers.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType


@cache
def shipped_simulators() -> tuple[str, ...]:
    """Names of the simulators; nothing is imported to find them."""
    found = iter_modules([str(Path(__file__).parent / "envs")])
    return tuple(sorted(each.name for each in found if each.ispkg))


def simulator_module(name: str) -> ModuleType:
    """Return the module that opens the simulator `name`, one of `shipped_simulators()`."""
    return import_module(f"worldeval.envs.{name}.env")
