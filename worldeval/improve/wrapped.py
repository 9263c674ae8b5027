"""Store policies made by improvement: every verb accepts `OUT/policy.py:policy`."""

from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

from worldeval.config import build
from worldeval.errors import UserError
from worldeval.files import read_object, whole_file
from worldeval.improve.compose import Composed
from worldeval.improve.critic import QCritic
from worldeval.improve.expo import Edit
from worldeval.improve.features import Standing
from worldeval.improve.offpolicy_recipe import ExpoRecipe, QgfRecipe, SacRecipe
from worldeval.improve.opening import guarded_by, open_policy
from worldeval.improve.place import Judging
from worldeval.improve.qgf import WEIGHT as GUIDANCE
from worldeval.improve.qgf import Guide
from worldeval.improve.recipe import SearchRecipe
from worldeval.improve.sac import Soft
from worldeval.improve.search import Searched
from worldeval.improve.soft import SquashedGaussian
from worldeval.improve.units import units_of
from worldeval.improve.valued import Valued, restore, state_size
from worldeval.judge.load import load_judge
from worldeval.policy.load import load_policy
from worldeval.recipe import shipped
from worldeval.runs.origin import read_recipe
from worldeval.runs.paths import RunPaths
from worldeval.world.load import load_world
from worldeval.world.protocol import WorldModel

FILE, WEIGHT = "policy.py", "weight.json"
KEPT = "kept.json"  # the step that was selected
TEXT = '''"""Written by `worldeval improve {verb}`: any verb takes {folder}/policy.py:policy."""

from pathlib import Path

from worldeval.improve.wrapped import {maker}


def policy():
    return {maker}(Path(__file__).parent)
'''


def write_policy(folder: Path, verb: str) -> str:
    """Write the file that builds the policy of a run folder; returns its reference."""
    maker = {"search": "searched", "compose": "composed"}.get(verb, "valued")
    with whole_file(folder / FILE) as draft:
        draft.write_text(TEXT.format(verb=verb, folder=folder, maker=maker))
    return f"{folder / FILE}:policy"


def searched(folder: Path) -> Searched:
    """Build the searching policy of a run of `improve search`."""
    raw = _recipe(folder)
    ref = raw.pop("policy")
    recipe = build(SearchRecipe, raw, where=str(RunPaths(folder).recipe))
    policy = load_policy(shipped(ref))
    place = guarded_by(recipe, _world(recipe.world), _judge(recipe.judge)).place
    return Searched(policy, place.world, place.judge, recipe)


def composed(folder: Path) -> Composed:
    """Build the mixture of a run of `improve compose`, with the selected weight."""
    first, second = (open_policy(ref) for ref in _recipe(folder)["policies"])
    return Composed(first, second, _number(folder / WEIGHT, "weight"))


def valued(folder: Path) -> Valued:
    """Build the policy of a run of `improve qgf`, `expo` or `sac`, at the selected step."""
    raw = read_recipe(folder)
    verb = str(raw.get("kind", "")).removeprefix("improve-")
    kinds = {"qgf": QgfRecipe, "expo": ExpoRecipe, "sac": SacRecipe}
    if verb not in kinds:
        raise UserError(f"{RunPaths(folder).recipe}: kind '{raw.get('kind')}' asks no critic.")
    raw = _recipe(folder)
    base = open_policy(raw.pop("policy"))
    recipe = build(kinds[verb], raw, where=str(RunPaths(folder).recipe))
    number = _number(folder / KEPT, "step")
    step = folder / "policies" / f"{base.card.lineage}-{recipe.suffix}" / f"step-{number:g}"
    world = _world(recipe.world)
    units = units_of(base.network, replan_every=recipe.replan_every)
    size = state_size(step)
    critic = QCritic(size, units.size, recipe.critic).eval()
    standing = Standing(world, horizon=recipe.horizon, executed=units.executed)
    head = base.network.head
    if isinstance(recipe, QgfRecipe):
        restore(step, {"critic": critic})
        weight = _number(step / GUIDANCE, "weight")
        decide = Guide(head, critic, units, weight=weight, steps=recipe.gradient_steps)
    else:
        actor = SquashedGaussian(size, units.size, recipe.hidden, std=recipe.std).eval()
        restore(step, {"critic": critic, "actor": actor})
        if isinstance(recipe, ExpoRecipe):
            decide = Edit(head, critic, actor, units, recipe)
        else:
            decide = Soft(head, actor, units)
    return Valued(base, standing, decide, name=recipe.suffix, step=int(number))


def _number(path: Path, key: str) -> float:
    """Read a number from a small file of a run."""
    found = read_object(path).get(key)
    if isinstance(found, bool) or not isinstance(found, int | float) or not isfinite(found):
        raise UserError(f"{path}: '{key}' is {found!r:.80}, and must be a number.")
    return float(found)


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
