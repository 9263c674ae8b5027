"""The protocol of a run in words, and the commands that reproduce it."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from worldeval.report.contents import ReportContents
from worldeval.runs.origin import RunFacts
from worldeval.runs.paths import RunPaths

# Key of a recipe -> heading. Other keys appear in the complete recipe, which the report shows too.
ASKED = {
    "tasks": "Tasks",
    "starts": "Starts per task, the same for every policy",
    "horizon": "Horizon in world frames",
    "replan_every": "World frames executed of each chunk before the policy replans",
    "policies": "Policies",
    "world": "World model",
    "judge": "Judge",
    "first_seed": "First seed of the starts",
    "margin": "Smallest measured difference for which a pair is counted",
}


def protocol(contents: ReportContents) -> list[tuple[str, str]]:
    """Return the main settings of a run as (heading, value) pairs; empty without a recipe."""
    recipe = _recipe(contents)
    found = [(title, _plain(recipe[key])) for key, title in ASKED.items() if key in recipe]
    truth = recipe.get("truth")
    if isinstance(truth, dict):
        told = ", ".join(f"{key} {value}" for key, value in truth.items())
        found.append(("Simulator", told))
    return found


def commands(contents: ReportContents) -> list[str]:
    """Return the commands that reproduce a run from the recipe in its folder."""
    facts = contents.facts
    if facts.command not in ("rank", "imagine", "truth") or not contents.recipe:
        return []
    recipe = shlex.quote(str(RunPaths(contents.folder).recipe))
    again = shlex.quote(str(contents.folder.with_name(f"{contents.name}-again")))
    words = ["worldeval", facts.command, recipe, "--out", again]
    words += ["--seed", str(facts.seed or 0)]
    words += ["--truth"] if contents.has_truth and facts.command == "rank" else []
    return [*_checkout(facts), " ".join(words), f"worldeval report {again}"]


def _checkout(facts: RunFacts) -> Iterator[str]:
    """Yield the command that checks out the code of the run, if it was a clean commit."""
    commit = facts.commit or ""
    if commit and not commit.endswith("-dirty"):
        yield f"git checkout {shlex.quote(commit)}"
    elif commit:
        yield f"# the run used uncommitted changes on top of {commit.removesuffix('-dirty')}"


def _recipe(contents: ReportContents) -> dict[str, Any]:
    try:
        recipe = yaml.safe_load(contents.recipe)
    except yaml.YAMLError:
        return {}
    return recipe if isinstance(recipe, dict) else {}


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(Path(value)) if isinstance(value, Path) else str(value)
