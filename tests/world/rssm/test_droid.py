"""Seven real episodes train it; two held-out ones say what one chunk is worth."""

from dataclasses import replace
from pathlib import Path

from tests.support.one_chunk import droid_chunk
from worldeval import recipe as recipes


def test_one_chunk_of_droid(tmp_path: Path) -> None:
    recipe = recipes.load("rssm-droid", "model", ["trainer.steps=12", "trainer.batch=2"]).config
    recipe = replace(recipe, deter=32, groups=4, classes=4, width=32, channels=8, length=4)
    error, repeated = droid_chunk("rssm", recipe, tmp_path)
    assert 0.5 * repeated < error < 2 * repeated
