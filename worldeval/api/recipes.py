"""List the available recipes with the weights beside them, and show one in full."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldeval import recipe as recipes
from worldeval.errors import UserError, did_you_mean
from worldeval.written import tensors_of

LAB = "protocol.yaml"  # in the folder of a lab
# Default output folders of the training commands.
TRAINED_INTO = {"model": Path("runs/world"), "judge": Path("runs")}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A row of `worldeval recipes`."""

    kind: str  # model, policy, judge, dataset, protocol or improvement
    name: str
    family: str  # the recipe's own `kind:`, which names the code
    summary: str
    # Number in the weights beside the recipe, else in the networks that it describes; None if
    # neither is known, or if they were not counted.
    parameters: int | None
    weights: str  # 'shipped' with the package, 'local' to this machine, or 'none'


@dataclass(frozen=True, kw_only=True)
class ShownRecipe:
    """A recipe with its base recipes and every default filled in."""

    kind: str
    recipe: str  # path of its file
    content: dict[str, Any]


def list_recipes(kind: str | None = None, *, count: bool = False) -> list[Listed]:
    """List every recipe in the shipped folders, group by group, without importing their code.

    Args:
        kind: model, policy, judge, dataset, protocol or improvement. Default: all of them.
        count: count the parameters of world models without weights from their shapes, which
            imports torch.

    Raises:
        UserError: there is no such kind, or a weights file is damaged.

    >>> from worldeval.api.recipes import list_recipes
    >>> "latent" in [row.name for row in list_recipes("model")]
    True
    """
    return [
        _listed(path, group, count=count)
        for group in _groups(kind)
        for path in recipes.available(group)
    ]


def show_recipe(name: str, kind: str | None = None) -> ShownRecipe:
    """Return a recipe in full.

    Args:
        name: name or path of a recipe.
        kind: as in `list_recipes`; needed if recipes of several kinds share the name.

    Raises:
        UserError: there is no such recipe, several kinds have one, or it is invalid.

    >>> from worldeval.api.recipes import show_recipe
    >>> show_recipe("latent").kind
    'model'
    """
    groups = _groups(kind)
    if Path(name).suffix in {".yaml", ".yml"}:
        own = recipes.group_of(recipes.read(recipes.find(name, groups[0]), groups[0]))
        groups = [own] if own in groups else groups[:1]  # `load` says what is wrong with it
    else:
        shelf = {group: [path.stem for path in recipes.available(group)] for group in groups}
        groups = [group for group in groups if name in shelf[group]]
        if not groups:
            hint = did_you_mean(name, {stem for stems in shelf.values() for stem in stems})
            raise UserError(f"There is no recipe '{name}' in {recipes.RECIPES}.{hint}")
    if len(groups) > 1:
        kinds = " and ".join(f"a {group}" for group in groups)
        wanted = " or ".join(f"--kind {group}" for group in groups)
        raise UserError(f"'{name}' is the name of {kinds} recipe. Give {wanted}.")
    found = recipes.load(name, groups[0])
    return ShownRecipe(kind=found.group, recipe=str(found.path), content=found.resolved())


def is_protocol(text: str) -> bool:
    """Return whether a text names a protocol: a recipe, by name or path, or the folder of a lab."""
    path = Path(text)
    known = recipes.RECIPES / recipes.FOLDERS["protocol"] / f"{text}.yaml"
    in_lab = (path / LAB).is_file()
    return path.suffix in (".yaml", ".yml") or in_lab or known.is_file()


def _groups(kind: str | None) -> list[str]:
    if kind is None:
        return list(recipes.FOLDERS)
    if kind not in recipes.FOLDERS:
        raise UserError(f"--kind {kind} is unknown.{did_you_mean(kind, recipes.FOLDERS)}")
    return [kind]


def _listed(path: Path, group: str, *, count: bool) -> Listed:
    raw = recipes.read(path, group)
    files, where = _weights(path, raw, group)
    known = sum(map(parameters, files)) if files else None
    return Listed(
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
