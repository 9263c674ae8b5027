"""How large recipes are: what is counted is what is trained."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.droid import droid_folder
from worldeval.recipe import RECIPES, available, load
from worldeval.world.load import load_world
from worldeval.world.size import DROID, SMALL, TURNED, parameters
from worldeval.world.training.prepare import prepare

MILLIONS = {
    "ctrl-world": 1528.6,
    "ctrl-world-tiny": 3.12,
    "ctrl-world-tiny-droid": 3.75,
    "dit-base": 296.6,
    "dit-droid": 3.38,
    "dit-small": 32.4,
    "dit-tiny": 4.54,
    "latent-mlp": 11.04,
    "latent-droid": 9.66,
    "latent": 2.56,
    "rssm-droid": 3.07,
    "rssm-tiny": 3.58,
    "uwm-base": 133.9,
    "uwm-droid": 4.42,
    "uwm-tiny": 4.39,
}


def test_the_shipped_world_is_as_large_as_its_recipe_says() -> None:
    """Counted from shapes alone it is what its weights file holds, buffers aside."""
    world = load_world(RECIPES / "models/latent")
    assert world.spec == replace(SMALL, tasks=world.spec.tasks, body=world.spec.body)
    assert len(world.spec.tasks) == len(SMALL.tasks)
    stored = sum(weight.numel() for weight in world.parameters())
    assert parameters("latent", load("latent", "model").config) == stored


def quiet(stage: str, steps: int):
    return lambda step, loss: None


def test_droid_is_laid_out_as_assumed(tmp_path: Path) -> None:
    recipe = load("latent-droid", "model").config
    found = prepare(recipe, droid_folder(), [], tmp_path, seed=0, report=quiet).spec
    assert (found.views, found.size, found.latent) == (DROID.views, DROID.size, DROID.latent)
    assert (found.action_dim, found.pose_dim, found.tasks) == (TURNED, TURNED, DROID.tasks)


@pytest.mark.parametrize("name", [path.stem for path in available("model")])
def test_every_recipe_has_a_size(name: str) -> None:
    recipe = load(name, "model")
    if recipe.kind == "ctrl_world":
        pytest.importorskip("diffusers")
    count = parameters(recipe.kind, recipe.config)
    assert count / 1e6 == pytest.approx(MILLIONS[name], rel=0.005)


def test_the_large_uwm_is_its_papers_where_it_can_be() -> None:
    recipe = load("uwm-base", "model").config
    assert (recipe.width, recipe.depth, recipe.heads, recipe.registers) == (768, 12, 12, 8)
    assert (recipe.chunk, recipe.times, recipe.steps) == (16, 100, 10)
    assert (recipe.target, recipe.corners, recipe.imitate) == ("epsilon", 0.0, "all")
