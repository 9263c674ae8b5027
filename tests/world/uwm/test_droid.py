"""Seven real episodes train it; two held-out ones say what one chunk is worth."""

from dataclasses import replace
from pathlib import Path

from tests.support.one_chunk import droid_chunk
from worldeval import recipe as recipes


def test_one_chunk_of_droid(tmp_path: Path) -> None:
    recipe = recipes.load("uwm-droid", "model", ["trainer.steps=12", "trainer.batch=4"]).config
    hands = replace(recipe.kinematics, trainer=replace(recipe.kinematics.trainer, steps=5, batch=2))
    recipe = replace(recipe, width=32, depth=1, kinematics=hands)
    error, repeated = droid_chunk("uwm", recipe, tmp_path)
    assert 0.5 * repeated < error < 2 * repeated
