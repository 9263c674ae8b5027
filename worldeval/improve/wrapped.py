"""Store policies made by improvement: every verb accepts `OUT/policy.py:policy`."""

from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

from worldeval.config import build
from worldeval.errors import UserError
from worldeval.files import read_object, whole_file
from worldeval.improve.compose import Composed
from worldeval.improve.opening import open_policy
from worldeval.improve.place import Judging
from worldeval.improve.recipe import SearchRecipe
from worldeval.improve.search import Searched
from worldeval.judge.load import load_judge
from worldeval.policy.load import load_policy
from worldeval.recipe import shipped
from worldeval.runs.origin import read_recipe
from worldeval.runs.paths import RunPaths
from worldeval.world.load import load_world
from worldeval.world.protocol import WorldModel

FILE, WEIGHT = "policy.py", "weight.json"
TEXT = '''"""Written by `worldeval improve {verb}`: any verb takes {folder}/policy.py:policy."""

from pathlib import Path

from worldeval.improve.wrapped import {maker}


def policy():
    return {maker}(Path(__file__).parent)
'''


def write_policy(folder: Path, verb: str) -> str:
    """Write the file that builds the policy of a run folder; returns its reference."""
    maker = {"search": "searched", "compose": "composed"}[verb]
    with whole_file(folder / FILE) as draft:
        draft.write_text(TEXT.format(verb=verb, folder=folder, maker=maker))
    return f"{folder / FILE}:policy"


def searched(folder: Path) -> Searched:
    """Build the searching policy of a run of `improve search`."""
    raw = _recipe(folder)
    ref = raw.pop("policy")
    recipe = build(SearchRecipe, raw, where=str(RunPaths(folder).recipe))
    policy = load_policy(shipped(ref))
    return Searched(policy, _world(recipe.world), _judge(recipe.judge), recipe)


def composed(folder: Path) -> Composed:
    """Build the mixture of a run of `improve compose`, with the selected weight."""
    first, second = (open_policy(ref) for ref in _recipe(folder)["policies"])
    weight = read_object(folder / WEIGHT).get("weight")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not isfinite(weight):
        raise UserError(f"{folder / WEIGHT}: 'weight' is {weight!r:.80}, and must be a number.")
    return Composed(first, second, float(weight))


def _recipe(folder: Path) -> dict[str, Any]:
    raw = read_recipe(folder)
    for key in ("kind", "summary"):
        raw.pop(key, None)
    return raw


# A measurement loads its policy for every episode; world and judge are large and never change.
@cache
def _world(folder: str) -> WorldModel:
    return load_world(Path(shipped(folder)))


@cache
def _judge(folder: str) -> Judging:
    return load_judge(Path(shipped(folder)))
