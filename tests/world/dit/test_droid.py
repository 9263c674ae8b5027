"""Seven real episodes train it; two held-out ones say what one chunk is worth."""

from dataclasses import replace
from pathlib import Path

from tests.support.one_chunk import droid_chunk
from worldeval import recipe as recipes


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
    error, repeated = droid_chunk("dit", recipe, tmp_path)
    assert 0.5 * repeated < error < 2 * repeated
