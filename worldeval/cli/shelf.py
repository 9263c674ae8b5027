"""The available recipes and the weights beside them, without importing what they build."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldeval import recipe as recipes
from worldeval.errors import UserError
from worldeval.written import tensors_of

# Default output folders of the training commands.
TRAINED_INTO = {"model": Path("runs/world"), "judge": Path("runs")}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A row of `worldeval recipes`."""

    kind: str  # model, policy, judge, dataset, protocol or improvement
    name: str
    family: str  # the recipe's own `kind:`, which names the code
    summary: str
    # Of the weights beside the recipe, else of the networks that it describes; None where neither
    # is known, or nobody counted.
    parameters: int | None
    weights: str  # 'shipped' with the package, 'local' to this machine, or 'none'


def listed(*, count: bool = False) -> Iterator[Listed]:
    """List every recipe in the shipped folders, group by group.

    With `count`, the parameters of world models without weights are counted from their shapes,
    which requires importing torch.
    """
    for group in recipes.FOLDERS:
        for path in recipes.available(group):
            raw = recipes.read(path, group)
            files, where = _weights(path, raw, group)
            known = sum(map(parameters, files)) if files else None
            yield Listed(
                kind=group,
                name=path.stem,
                family=str(raw["kind"]),
                summary=str(raw.get("summary", "")).strip(),
                parameters=_described(path) if count and group == "model" and not files else known,
                weights=where,
            )


def _described(path: Path) -> int | None:
    """Count the trainable parameters of a recipe's world model; None if they are unknown."""
    from worldeval.world.size import parameters as of_recipe

    try:
        found = recipes.load(str(path), "model")
        return of_recipe(found.kind, found.config)
    except UserError:  # an optional package of this family is missing
        return None


def parameters(file: Path) -> int:
    """Count the numbers in a safetensors file from its header."""
    try:
        header = tensors_of(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not a safetensors file ({error}).") from error
    # The scale that is stored beside an 8-bit matrix is not a parameter.
    own = [key for key in header if key.removesuffix(".scale") == key or
           key.removesuffix(".scale") not in header]  # fmt: skip
    return sum(math.prod(header[key]["shape"]) for key in own)


def _weights(path: Path, raw: dict[str, Any], group: str) -> tuple[list[Path], str]:
    """`NAME.safetensors` or a folder NAME beside the recipe; else what its `weights:` names; else
    what training wrote where it writes by default."""
    beside = [
        path.with_suffix(".safetensors"),
        *sorted(path.with_suffix("").rglob("*.safetensors")),
    ]
    files = [file for file in beside if file.is_file()]
    if files:
        return files, "shipped"
    named = Path(str(raw.get("weights") or ""))
    if named.suffix == ".safetensors" and named.is_file():
        return [named], "local"
    if group in TRAINED_INTO:
        # Folds are stored below the world model's folder, but are not part of its parameters.
        trained = sorted((TRAINED_INTO[group] / path.stem).glob("*.safetensors"))
        return trained, "local" if trained else "none"
    return [], "none"
