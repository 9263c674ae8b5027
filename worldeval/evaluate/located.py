"""Paths of what came with the package."""

from dataclasses import replace

from worldeval.hub import local
from worldeval.recipe import shipped
from worldeval.rollout.recipe import ProtocolRecipe


def located(recipe: ProtocolRecipe) -> ProtocolRecipe:
    """Replace names of shipped files in the recipe by their paths."""
    return replace(
        recipe,
        policies=tuple(shipped(ref) for ref in recipe.policies),
        world=shipped(recipe.world),
        judge=shipped(recipe.judge),
        checker=shipped(recipe.checker) if recipe.checker else "",
        starts_file=shipped(recipe.starts_file) if recipe.starts_file else "",
        replays=shipped(recipe.replays) if recipe.replays else "",
        recordings=shipped(local(recipe.recordings, "dataset")) if recipe.recordings else "",
    )
