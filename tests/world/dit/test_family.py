"""From a recipe to a stored world: base, folds and their mean, and what is read back."""

from dataclasses import replace
from pathlib import Path

import torch

from tests.support.toy import toy_recipe
from tests.support.trained_family import FEW, trained_family
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.dit.world import DitWorld
from worldeval.world.hand.camera import projection
from worldeval.world.load import load_world
from worldeval.world.recipe import CameraRecipe
from worldeval.world.training.prepare import Prepared

TOY = toy_recipe()
ABOVE = CameraRecipe(lookat=(0.0, 0.0, 0.0), distance=2.0, azimuth=180.0, elevation=-60.0)
RECIPE = DitRecipe(
    width=16,
    depth=1,
    heads=2,
    window=2,
    steps=1,
    length=4,
    imagined=((0.0, 0), (0.5, 1)),
    cameras={"left": {"top": ABOVE}},
    tokenizer=TOY.tokenizer,
    actuation=TOY.actuation,
    held_out=TOY.held_out,
    kinematics=replace(TOY.kinematics, trainer=FEW),
    trainer=FEW,
)


def test_a_recipe_becomes_a_world_on_the_disk(prepared: Prepared, tmp_path: Path) -> None:
    statistics = ("change_std", "features.action_std")
    world = trained_family(
        RECIPE, prepared, tmp_path, kind="dit", statistics=statistics, part="dynamics"
    )
    assert isinstance(world, DitWorld)
    # Read back, it has the recipe's camera, and knows no other.
    again = load_world(tmp_path)
    assert isinstance(again, DitWorld)
    for each in (world, again):
        matrix = each.dynamics.maps.matrix
        assert torch.equal(matrix[0, 1], projection(ABOVE, aspect=1.0))
        assert not matrix[0, 0].any() and not matrix[1].any()
