"""Seven real episodes train it; two held-out ones say what one chunk is worth."""

from dataclasses import replace
from pathlib import Path

import torch

from tests.support.droid import droid_folder
from tests.support.one_chunk import one_chunk
from worldeval import recipe as recipes
from worldeval.world.families import Fitting, family
from worldeval.world.prepare import prepare


def quiet(stage: str, steps: int):
    return lambda step, loss: None


def test_one_chunk_of_droid(tmp_path: Path) -> None:
    recipe = recipes.load("uwm-droid", "model", ["trainer.steps=12", "trainer.batch=4"]).config
    hands = replace(recipe.kinematics, trainer=replace(recipe.kinematics.trainer, steps=5, batch=2))
    recipe = replace(recipe, width=32, depth=1, kinematics=hands)
    prepared = prepare(recipe, droid_folder(), (), tmp_path, seed=0, report=quiet)
    assert len(prepared.held) == 2
    torch.manual_seed(0)
    world = family("uwm").new(prepared.spec, recipe)
    fitting = Fitting(
        world=world,
        recipe=recipe,
        prepared=prepared,
        episodes=prepared.training(weak=False, without_fold=None, folds=2),
        seed=0,
        report=quiet,
        stage="base",
        fresh=True,
        folder=tmp_path,
    )
    family("uwm").fit(fitting)
    error, repeated = one_chunk(world, prepared.episodes, prepared.held, frames=4, every=24)
    print(f"uwm on DROID, one chunk of 4 frames: {error:.4f}, last frame repeated {repeated:.4f}")
    assert 0.5 * repeated < error < 2 * repeated
