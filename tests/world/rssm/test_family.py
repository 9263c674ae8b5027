"""From a recipe to a stored world: base, folds and their mean, and what is read back."""

from pathlib import Path

from tests.support.toy import toy_recipe
from tests.support.trained_family import FEW, trained_family
from worldeval.world.rssm.recipe import RssmRecipe
from worldeval.world.rssm.world import RssmWorld
from worldeval.world.training.prepare import Prepared

TOY = toy_recipe()
RECIPE = RssmRecipe(
    deter=16,
    groups=2,
    classes=4,
    width=16,
    channels=8,
    length=3,
    tokenizer=TOY.tokenizer,
    actuation=TOY.actuation,
    held_out=TOY.held_out,
    trainer=FEW,
)


def test_a_recipe_becomes_a_world_on_the_disk(prepared: Prepared, tmp_path: Path) -> None:
    statistics = ("features.pose_std", "features.action_std")
    world = trained_family(RECIPE, prepared, tmp_path, kind="rssm", statistics=statistics)
    assert isinstance(world, RssmWorld)
    assert bool(world.model.judged)  # the toy's data say what succeeded
