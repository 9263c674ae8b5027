"""From a recipe to a stored world: base, folds and their mean, and what is read back."""

from dataclasses import replace
from pathlib import Path

from tests.support.toy import toy_recipe
from tests.support.trained_family import FEW, trained_family
from worldeval.world.prepare import Prepared
from worldeval.world.uwm.recipe import UwmRecipe
from worldeval.world.uwm.world import UwmWorld

TOY = toy_recipe()
RECIPE = UwmRecipe(
    width=16,
    depth=1,
    heads=2,
    channels=8,
    chunk=2,
    tokenizer=TOY.tokenizer,
    actuation=TOY.actuation,
    held_out=TOY.held_out,
    kinematics=replace(TOY.kinematics, trainer=FEW),
    trainer=FEW,
)


def test_a_recipe_becomes_a_world_on_the_disk(prepared: Prepared, tmp_path: Path) -> None:
    statistics = ("change_std", "features.action_std")
    world = trained_family(RECIPE, prepared, tmp_path, kind="uwm", statistics=statistics)
    assert isinstance(world, UwmWorld)
