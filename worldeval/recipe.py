"""Recipes: YAML files that name a `kind` and fill the frozen dataclass standing beside its code.

Found by name (`latent`) or by path (`./mine.yaml`), in a checkout and in an installed wheel alike.
`base: other` starts from another recipe of the same folder; `--set a.b=1` overrides a key.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import dacite
import yaml

from worldeval.errors import UserError, did_you_mean

T = TypeVar("T")

HERE = Path(__file__).parent
# The wheel's copy where there is one, else the checkout.
RECIPES = HERE / "recipes" if (HERE / "recipes").is_dir() else HERE.parent

FOLDERS = {
    "model": "models",
    "policy": "models",
    "judge": "models",
    "dataset": "datasets",
    "protocol": "evaluation",
}
# kind in the YAML -> (group, the frozen dataclass that it fills)
KINDS = {
    "latent": ("model", "worldeval.world.recipe:LatentRecipe"),
    "dit": ("model", "worldeval.world.recipe:DitRecipe"),
    "judge": ("judge", "worldeval.judge.recipe:JudgeRecipe"),
    "bc": ("policy", "worldeval.policy.recipe:PolicyRecipe"),
    "flow": ("policy", "worldeval.policy.recipe:PolicyRecipe"),
    "policy-set": ("policy", "worldeval.policy.recipe:PolicySetRecipe"),
    "metaworld": ("dataset", "worldeval.envs.recipe:CollectRecipe"),
    "recorded": ("dataset", "worldeval.data.recipe:RecordedRecipe"),
    "closed-loop": ("protocol", "worldeval.imagine.recipe:ProtocolRecipe"),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe as read: where it came from and the typed config that it fills."""

    name: str
    path: Path
    kind: str
    group: str
    summary: str
    config: Any

    def resolved(self) -> dict[str, Any]:
        """Everything needed to run it again, as plain data."""
        return {"kind": self.kind, "summary": self.summary, **_plain(asdict(self.config))}


def load(name: str, group: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe `name` (a name or a path) of `group`, with `key.sub=value` overrides applied."""
    path = find(name, group)
    raw = _read(path)
    for override in overrides:
        _apply(raw, override)
    kind = str(raw.pop("kind", ""))
    summary = str(raw.pop("summary", "")).strip()
    raw.pop("card", None)
    if kind not in KINDS:
        raise UserError(f"{path}: kind '{kind}' is unknown.{did_you_mean(kind, KINDS)}")
    found_group, target = KINDS[kind]
    if found_group != group:
        raise UserError(f"{path} is a {found_group} recipe; a {group} recipe is needed here.")
    module, cls = target.split(":")
    config = build(getattr(import_module(module), cls), raw, where=str(path))
    return Recipe(
        name=path.stem, path=path, kind=kind, group=group, summary=summary, config=config
    )


def build(cls: type[T], raw: Mapping[str, Any], *, where: str) -> T:
    """Fill the dataclass `cls` from plain data, refusing unknown keys and wrong types."""
    _check_keys(cls, raw, where, prefix="")
    try:
        return dacite.from_dict(
            cls, dict(raw), dacite.Config(strict=True, cast=[tuple, Path], type_hooks={float: float})
        )
    except dacite.MissingValueError as error:
        raise UserError(f"{where}: the key '{error.field_path}' is missing.") from error
    except (dacite.WrongTypeError, dacite.UnionMatchError) as error:
        raise UserError(
            f"{where}: '{error.field_path}' is {error.value!r}, which is not {error.field_type}."
        ) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from error


def find(name: str, group: str) -> Path:
    """The file of a recipe: a path as given, or `<folder of the group>/<name>.yaml`."""
    given = Path(name)
    if given.suffix in {".yaml", ".yml"}:
        if given.is_file():
            return given
        raise UserError(f"There is no recipe file {given}.")
    folder = RECIPES / FOLDERS[group]
    path = folder / f"{name}.yaml"
    if path.is_file():
        return path
    known = [other.stem for other in available(group)]
    raise UserError(f"There is no {group} recipe '{name}' in {folder}.{did_you_mean(name, known)}")


def available(group: str) -> list[Path]:
    """Every recipe file of a group, sorted by name."""
    paths = sorted((RECIPES / FOLDERS[group]).glob("*.yaml"))
    return [path for path in paths if KINDS.get(str(_read(path).get("kind")), ("",))[0] == group]


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path} must hold a mapping of keys, with `kind:` among them.")
    base = raw.pop("base", None)
    if base is None:
        return raw
    parent = path.parent / f"{base}.yaml"
    if not parent.is_file():
        raise UserError(f"{path}: base '{base}' is not beside it ({parent} does not exist).")
    return _merge(_read(parent), raw)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = deepcopy(dict(below))
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set {override!r} must look like key=value or trainer.steps=100.")
    *parents, leaf = key.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise UserError(f"--set {override}: '{parent}' holds a value, not further keys.")
    raw[leaf] = yaml.safe_load(value)


def _check_keys(cls: Any, raw: Any, where: str, prefix: str) -> None:
    if not (is_dataclass(cls) and isinstance(raw, Mapping)):
        return
    types = get_type_hints(cls)
    known = [field.name for field in fields(cls)]
    for key, value in raw.items():
        if key not in known:
            raise UserError(
                f"{where}: there is no key '{prefix}{key}'.{did_you_mean(str(key), known)}"
            )
        for inner in (types[key], *get_args(types[key])):
            if is_dataclass(inner):
                items = value if isinstance(value, list) else [value]
                for item in items:
                    _check_keys(inner, item, where, f"{prefix}{key}.")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
