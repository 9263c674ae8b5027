"""Find the datasets, world models and policies in a folder of runs, for the viewer.

Only the folders that the viewer was opened on are searched; links that lead out of them are not
followed.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from worldeval.data.source import READERS
from worldeval.errors import UserError
from worldeval.recipe import RECIPES
from worldeval.runs.paths import FOLDERS

DEPTH = 4  # folders below a root
LIMIT = 200  # found in one root
WORLD, POLICY = "world.json", "policy.json"  # cards of a trained world model and of a policy


def find_datasets(roots: Sequence[Path]) -> dict[str, Path]:
    """Find the datasets in `roots`, by unique names."""
    return _find(roots, lambda folder: dataset_format(folder) is not None)


def find_worlds(roots: Sequence[Path]) -> dict[str, Path]:
    """Find trained world models in `roots`, followed by those shipped with the package."""
    found = _find(roots, lambda folder: (folder / WORLD).is_file())
    shipped = RECIPES / "models"
    for folder in sorted(shipped.iterdir()) if shipped.is_dir() else ():
        if (folder / WORLD).is_file():
            found[f"shipped: {folder.name}"] = folder
    return found


def find_policies(roots: Sequence[Path]) -> dict[str, Path]:
    """Find checkpoints of policies in `roots`, followed by those shipped with the package."""
    found = _find(roots, lambda folder: (folder / POLICY).is_file())
    shipped = RECIPES / "models"
    for card in sorted(shipped.rglob(POLICY)) if shipped.is_dir() else ():
        name = card.parent.relative_to(shipped).as_posix().partition("/")[2]
        found[f"shipped: {name}"] = card.parent
    return found


def dataset_format(folder: Path) -> str | None:
    """Detect the format of the dataset in a folder; None if no dataset can be opened."""
    for name, reader in READERS.items():
        module, cls = reader.split(":")
        try:
            if getattr(import_module(module), cls).detect(folder):
                return name
        except (OSError, UserError, ValueError, ImportError):  # damaged, or its library is missing
            continue
    return None


def _find(roots: Sequence[Path], fits: Callable[[Path], bool]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in roots:
        level, count = [root], 0
        for depth in range(DEPTH + 1):
            following: list[Path] = []
            for folder in level:
                if count < LIMIT and fits(folder):
                    name = folder.relative_to(root).as_posix() if folder != root else root.name
                    found[name if name not in found else str(folder)] = folder
                    count += 1
                elif depth < DEPTH:
                    following += _inside(folder, root)
            level = following
    return found


def _inside(folder: Path, root: Path) -> list[Path]:
    try:
        children = sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:  # skip folders without read permission
        return []
    real = root.resolve()
    return [
        child
        for child in children
        if child.name[0] != "." and child.name not in FOLDERS
        if child.resolve().is_relative_to(real)
    ]
