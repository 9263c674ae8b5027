"""Steps of a sampler: chosen after training, within what the family's sampler is made for."""

from dataclasses import replace

import pytest

from tests.support.dit import a_world
from tests.world.ctrl_world.tiny import TINY as CTRL_WORLD
from tests.world.uwm.tiny import TINY as UWM
from tests.world.uwm.tiny import new_world
from worldeval.errors import UserError
from worldeval.world.ctrl_world.recipe import EdmRecipe
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.latent.recipe import LatentRecipe
from worldeval.world.recipe import WorldRecipe, allowed_steps
from worldeval.world.rssm.recipe import RssmRecipe


@pytest.mark.parametrize(
    ("recipe", "most"),
    [(DitRecipe(), 8), (CTRL_WORLD, 50), (UWM, UWM.times), (LatentRecipe(), 0), (RssmRecipe(), 0)],
)
def test_every_family_says_how_many_steps_its_sampler_takes(recipe: WorldRecipe, most: int) -> None:
    assert list(recipe.sampler) == list(range(1, most + 1))


def test_a_world_takes_any_of_them_and_no_other() -> None:
    world = a_world()
    assert world.steps == 2  # its recipe's
    world.steps = 8
    for wrong in (0, 9):
        with pytest.raises(UserError, match=f"{wrong} sampler steps .* takes 1 to 8"):
            world.steps = wrong
    assert world.steps == 8
    assert new_world().sampler == range(1, 21)


def test_a_world_without_a_sampler_says_so() -> None:
    with pytest.raises(UserError, match="no such sampler"):
        allowed_steps(LatentRecipe().sampler, 1)


def test_a_recipe_may_not_ask_for_more() -> None:
    with pytest.raises(ValueError, match=r"edm\.steps: 51 is outside 1-50"):
        replace(CTRL_WORLD, edm=EdmRecipe(steps=51))
