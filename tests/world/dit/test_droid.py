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
    short = [
        "trainer.steps=12",
        "trainer.batch=2",
        "trainer.ema=0.5",
        "kinematics.trainer.steps=20",
    ]
    recipe = replace(
        recipes.load("dit-droid", "model", short).config, width=32, depth=1, heads=2, patch=8
    )
    prepared = prepare(recipe, droid_folder(), (), tmp_path, seed=0, report=quiet)
    assert len(prepared.held) == 2
    torch.manual_seed(0)
    world = family("dit").new(prepared.spec, recipe)
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
    family("dit").fit(fitting)
    error, repeated = one_chunk(world, prepared.episodes, prepared.held, frames=4, every=24)
    print(f"dit on DROID, four frames: {error:.4f}, last frame repeated {repeated:.4f}")
    assert 0.5 * repeated < error < 2 * repeated
