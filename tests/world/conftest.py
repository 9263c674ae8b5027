"""One toy world model, trained once for all tests of this folder."""

from pathlib import Path

import pytest

from tests.support.toy import toy_recipe, toy_shards
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import Prepared, prepare
from worldeval.world.world import World


def quiet(stage: str, steps: int):
    """Progress that shows nothing."""
    return lambda step, loss: None


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("toy")


@pytest.fixture(scope="session")
def prepared(toy_folder: Path) -> Prepared:
    data = toy_shards(toy_folder / "data")
    weak = toy_shards(toy_folder / "weak", episodes=6, seed=1, source="weak/step-1")
    return prepare(toy_recipe(), data, [weak], toy_folder / "world", seed=0, report=quiet)


@pytest.fixture(scope="session")
def world(prepared: Prepared, toy_folder: Path) -> World:
    return train_world(
        toy_recipe(), prepared, toy_folder / "world", kind="latent", seed=0, report=quiet
    )
