"""Recipes: YAML files that name a `kind` and fill the frozen dataclass of that kind.

They are found by name (`latent`) or path (`./mine.yaml`), in a checkout and in a wheel.
`base: other` starts from another recipe, beside it or shipped; `--set a.b=1` overrides a key, and
`--set a.b=` empties it.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from textwrap import shorten
from typing import Any

import yaml

from worldeval.config import build
from worldeval.errors import UserError, did_you_mean
from worldeval.hub import is_hub, local
from worldeval.simulators import shipped_simulators

__all__ = ["Recipe", "available", "build", "find", "group_of", "load", "read"]

HERE = Path(__file__).parent
# The wheel's copy where there is one, else the checkout.
RECIPES = HERE / "recipes" if (HERE / "recipes").is_dir() else HERE.parent

SHOWN = 160  # characters of the settings in an error
FOLDERS = {
    "model": "models",
    "policy": "models",
    "judge": "models",
    "dataset": "datasets",
    "protocol": "evaluation",
    "improvement": "models",
}
# kind in the YAML -> (group, the frozen dataclass that it fills)
KINDS = {
    "latent": ("model", "worldeval.world.latent.recipe:LatentRecipe"),
    "dit": ("model", "worldeval.world.dit.recipe:DitRecipe"),
    "ctrl_world": ("model", "worldeval.world.ctrl_world.recipe:CtrlWorldRecipe"),
    "rssm": ("model", "worldeval.world.rssm.recipe:RssmRecipe"),
    "uwm": ("model", "worldeval.world.uwm.recipe:UwmRecipe"),
    "judge": ("judge", "worldeval.judge.recipe:JudgeRecipe"),
    "bc": ("policy", "worldeval.policy.recipe:PolicyRecipe"),
    "flow": ("policy", "worldeval.policy.recipe:FlowRecipe"),
    "diffusion": ("policy", "worldeval.policy.recipe:DiffusionRecipe"),
    "a2a": ("policy", "worldeval.policy.head_recipes:A2aRecipe"),
    "carp": ("policy", "worldeval.policy.head_recipes:CarpRecipe"),
    "ebt": ("policy", "worldeval.policy.head_recipes:EbtRecipe"),
    "beso": ("policy", "worldeval.policy.head_recipes:BesoRecipe"),
    "dita": ("policy", "worldeval.policy.head_recipes:DitaRecipe"),
    "mamba": ("policy", "worldeval.policy.head_recipes:MambaRecipe"),
    "act-jepa": ("policy", "worldeval.policy.head_recipes:ActJepaRecipe"),
    "policy-set": ("policy", "worldeval.policy.recipe:PolicySetRecipe"),
    "rollouts": ("dataset", "worldeval.rollout.recipe:RolloutsRecipe"),
    "recorded": ("dataset", "worldeval.data.recipe:RecordedRecipe"),
    "closed-loop": ("protocol", "worldeval.rollout.recipe:ProtocolRecipe"),
    "improve-sft": ("improvement", "worldeval.improve.recipe:SftRecipe"),
    "improve-rl": ("improvement", "worldeval.improve.recipe:RlRecipe"),
    "improve-search": ("improvement", "worldeval.improve.recipe:SearchRecipe"),
    "improve-compose": ("improvement", "worldeval.improve.recipe:ComposeRecipe"),
    "improve-pa": ("improvement", "worldeval.improve.offpolicy_recipe:PaRecipe"),
    "improve-qgf": ("improvement", "worldeval.improve.offpolicy_recipe:QgfRecipe"),
    "improve-expo": ("improvement", "worldeval.improve.offpolicy_recipe:ExpoRecipe"),
    "improve-sac": ("improvement", "worldeval.improve.offpolicy_recipe:SacRecipe"),
    # Collections by the scripted drivers of a simulator that ships are called like the simulator.
    **{
        name: ("dataset", f"worldeval.envs.{name}.recipe:CollectRecipe")
        for name in shipped_simulators()
    },
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe, with its source and the typed config that it fills."""

    name: str
    path: Path
    kind: str
    group: str
    summary: str
    config: Any

    def resolved(self) -> dict[str, Any]:
        """The complete content of a recipe file, as plain data, to run it again."""
        return self._plain(self.summary, self.config)

    def reread(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Convert an earlier version's `resolved` to this version's; unchanged if unreadable."""
        if kept.get("kind") != self.kind:
            return dict(kept)
        own = {key: value for key, value in kept.items() if key not in ("kind", "summary")}
        try:
            config = build(type(self.config), own, where="the recipe kept")
        except UserError:
            return dict(kept)
        return self._plain(str(kept.get("summary", "")), config)

    def _plain(self, summary: str, config: Any) -> dict[str, Any]:
        return {"kind": self.kind, "summary": summary, **_plain(asdict(config))}


def load(name: str, group: str, settings: Mapping[str, Any] | None = None) -> Recipe:
    """Load the recipe `name` (a name or path) of `group`.

    A key that the recipe's kind does not use is refused, as an unknown one is.

    Args:
        settings: values of keys that replace those of the file, such as {"trainer.steps": 100};
            None changes nothing, and `CLEARED` empties a key.
    """
    path = find(name, group)
    raw = read(path, group)
    given = {key: value for key, value in (settings or {}).items() if value is not None}
    for key, value in given.items():
        _put(raw, key, value)
    kind = str(raw.pop("kind", ""))
    summary = str(raw.pop("summary", "")).strip()
    raw.pop("card", None)
    if kind not in KINDS:
        raise UserError(f"{path}: kind '{kind}' is unknown.{did_you_mean(kind, KINDS)}")
    found_group, target = KINDS[kind]
    if found_group != group:
        raise UserError(f"{path} is a {found_group} recipe; a {group} recipe is needed here.")
    module, cls = target.split(":")
    shown = shorten(", ".join(f"{key}={value}" for key, value in given.items()), SHOWN)
    where = f"{path} with {shown}" if given else str(path)
    config = build(getattr(import_module(module), cls), raw, where=where)
    _refuse_unused(config, raw, where)
    return Recipe(name=path.stem, path=path, kind=kind, group=group, summary=summary, config=config)


def find(name: str, group: str) -> Path:
    """Find the file of a recipe: a path as given, or `<folder of the group>/<name>.yaml`."""
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


def shipped(path: str) -> str:
    """Return `path` if it exists, else the copy shipped with the package, if there is one.

    So `models/latent` names the shipped weights from any folder, but a user's own take precedence.
    What is on the Hugging Face Hub (`hf:user/name`) is downloaded.
    """
    if is_hub(path):
        place, mark, parameters = path.partition("?")
        return local(place) + mark + parameters
    if not Path(path).exists() and (RECIPES / path).exists():
        return str(RECIPES / path)
    return path


def available(group: str) -> list[Path]:
    """List every recipe file of a group, sorted by name."""
    paths = sorted((RECIPES / FOLDERS[group]).glob("*.yaml"))
    return [path for path in paths if group_of(read(path, group)) == group]


def group_of(raw: Mapping[str, Any]) -> str | None:
    """Return the group of a recipe's `kind`; None for an unknown kind."""
    return KINDS.get(str(raw.get("kind")), (None, ""))[0]


def read(path: Path, group: str) -> dict[str, Any]:
    """Read a recipe file, merged over its `base`, before overrides and checks."""
    return _read(path, RECIPES / FOLDERS[group], ())


def _read(path: Path, shipped: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path} must contain a mapping with the key `kind:`.")
    base = raw.pop("base", None)
    if base is None:
        return raw
    above = (*above, path.resolve())
    # Beside the recipe first; a recipe of one's own may also stand on a shipped one.
    for parent in (path.parent / f"{base}.yaml", shipped / f"{base}.yaml"):
        if parent.resolve() == path.resolve():  # `./latent.yaml` may stand on the shipped `latent`
            continue
        if parent.resolve() in above:
            circle = " -> ".join(each.stem for each in (*above, parent))
            raise UserError(f"{path}: its bases form a circle: {circle}.")
        if parent.is_file():
            return merge(_read(parent, shipped, above), raw)
    known = {other.stem for folder in (path.parent, shipped) for other in folder.glob("*.yaml")}
    hint = did_you_mean(str(base), known - {path.stem})
    raise UserError(f"{path}: base '{base}' is neither in its folder nor in {shipped}.{hint}")


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the values of `above` into `below`, key by key at every depth."""
    merged = deepcopy(dict(below))
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _put(raw: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    for parent in parents:
        if raw.get(parent) is None:  # an absent or empty section takes its first key
            raw[parent] = {}
        raw = raw[parent]
        if not isinstance(raw, dict):
            raise UserError(f"{key}={value}: '{parent}' is a value and has no keys.")
    raw[leaf] = value


def _refuse_unused(config: Any, raw: Mapping[str, Any], where: str) -> None:
    """Refuse keys that this kind does not read, unless they have their default value.

    So a complete recipe, as runs keep it, can be read again.
    """
    for key, why in getattr(config, "unused", {}).items():
        if _at(raw, key) is None:
            continue
        if attrgetter(key)(config) != attrgetter(key)(type(config)()):
            raise UserError(f"{where}: '{key}' would change nothing, because {why}. Remove it.")


def _at(raw: Mapping[str, Any], key: str) -> Any:
    found: Any = raw
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
