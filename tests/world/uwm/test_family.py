"""From a recipe to a stored world: base, folds and their mean, and what is read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tests.support.toy import toy_recipe
from worldeval.world.load import load_world, read_card
from worldeval.world.pipeline import train_world
from worldeval.world.prepare import Prepared
from worldeval.world.recipe import TrainerRecipe
from worldeval.world.uwm.recipe import UwmRecipe
from worldeval.world.uwm.world import UwmWorld

TOY = toy_recipe()
FEW = TrainerRecipe(steps=4, batch=4, ema=0.9)
RECIPE = UwmRecipe(
    width=16,
    depth=1,
    heads=2,
    channels=8,
    chunk=2,
    tokenizer=TOY.tokenizer,
    actuation=TOY.actuation,
    kinematics=replace(TOY.kinematics, trainer=FEW),
    held_out=TOY.held_out,
    trainer=FEW,
)


def quiet(stage: str, steps: int):
    return lambda step, loss: None


def test_a_recipe_becomes_a_world_on_the_disk(prepared: Prepared, tmp_path: Path) -> None:
    world = train_world(RECIPE, prepared, tmp_path, kind="uwm", seed=0, report=quiet)
    assert isinstance(world, UwmWorld)
    card = read_card(tmp_path)
    assert (card["kind"], card["stage"]) == ("uwm", "mean of the folds")
    assert card["recipe"] == RECIPE
    assert np.isfinite(card["fidelity"]["h5"]["latent_mse"])
    again = load_world(tmp_path)
    for name, part in world.parts.items():
        for key, value in part.state_dict().items():
            torch.testing.assert_close(again.parts[name].state_dict()[key], value)
    # Statistics are those of the base's data in every fold, so their mean is one of them.
    base = load_world(tmp_path / "base")
    for key in ("change_std", "features.action_std"):
        own, first = (each.parts["model"].state_dict()[key] for each in (world, base))
        torch.testing.assert_close(own, first, rtol=2e-3, atol=2e-3)
