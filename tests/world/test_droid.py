"""Real episodes: seven train a family, two held-out ones say what one chunk of it is worth."""

from pathlib import Path

import pytest
from droid_chunk import trained

from tests.support.droid import droid_folder
from worldeval import recipe as recipes
from worldeval.config import read_settings

# Small enough for seconds: every family of the benchmark, with the least of everything.
SMALL = {
    "latent-droid": ["width=32", "depth=1"],
    "dit-droid": ["width=32", "depth=1", "heads=2", "patch=8", "trainer.ema=0.5"],
    "uwm-droid": ["width=32", "depth=1", "trainer.batch=4"],
    "rssm-droid": ["deter=32", "groups=4", "classes=4", "width=32", "channels=8", "length=4"],
    "ctrl-world-tiny-droid": ["unet.widths=[32,32]", "patch=8", "trainer.steps=6"],
}


@pytest.mark.parametrize("name", SMALL)
def test_one_chunk_of_droid(name: str, tmp_path: Path) -> None:
    few = ["trainer.steps=12", "trainer.batch=2"]
    if not name.startswith("rssm"):  # which learns the pose with everything else
        few += ["kinematics.trainer.steps=5", "kinematics.trainer.batch=2"]
    found = recipes.load(name, "model", read_settings([*few, *SMALL[name]]))
    row = trained(found, droid_folder(), tmp_path, seed=0, frames=4, every=24)
    print(f"{name}: {row['latent_mse']:.4f}, last frame repeated {row['repeated_mse']:.4f}")
    assert (row["training_episodes"], row["held_out_episodes"]) == (7, 2)
    assert 0.5 * row["repeated_mse"] < row["latent_mse"] < 2 * row["repeated_mse"]
