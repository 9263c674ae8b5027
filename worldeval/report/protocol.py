"""How a run was made, in words: its protocol, and the commands that make it again."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from worldeval.report.contents import ReportContents
from worldeval.runs.origin import RunFacts
from worldeval.runs.paths import RunPaths

# Key of a recipe -> heading; the others are in the recipe itself, which the report shows whole.
ASKED = {
    "tasks": "Tasks",
    "starts": "Starts of each task, the same for every policy",
    "horizon": "World frames imagined",
    "replan_every": "World frames of a chunk carried out before the policy is asked again",
    "policies": "Policies",
    "world": "World model",
    "judge": "Judge",
    "first_seed": "First seed of the starts",
    "margin": "Real gap from which a pair counts",
}


def protocol(contents: ReportContents) -> list[tuple[str, str]]:
    """What was tried, from where, in which world, judged by whom; empty without a recipe."""
    recipe = _recipe(contents)
    found = [(title, _plain(recipe[key])) for key, title in ASKED.items() if key in recipe]
    truth = recipe.get("truth")
    if isinstance(truth, dict):
        told = ", ".join(f"{key} {value}" for key, value in truth.items())
        found.append(("Simulator", told))
    return found


def commands(contents: ReportContents) -> list[str]:
    """Commands that make the same again, from the recipe that lies in the run folder."""
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
    """The code that it was made by, where that is one commit."""
    commit = facts.commit or ""
    if commit and not commit.endswith("-dirty"):
        yield f"git checkout {shlex.quote(commit)}"
    elif commit:
        yield f"# files differed from commit {commit.removesuffix('-dirty')} when it was made"


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
