"""A training that is interrupted: the hand stays, and nothing is left when all is done."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.toy import toy_recipe, toy_shards
from tests.world.ctrl_world.tiny import TINY
from worldeval.errors import UserError
from worldeval.world.ctrl_world.recipe import CtrlWorldRecipe
from worldeval.world.families import HAND, TRAINING
from worldeval.world.load import read_card
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import Prepared, prepare
from worldeval.world.weights import load_weights


class Stopped(Exception):
    """The power went."""


class Watch:
    """Reports that remember the stages; at `stop_at` the power goes."""

    def __init__(self, stop_at: str = "") -> None:
        self.stages: list[str] = []
        self.stop_at = stop_at

    def __call__(self, stage: str, steps: int) -> Any:
        self.stages.append(stage)

        def progress(step: int, loss: float) -> None:
            if stage == self.stop_at and step >= 20:
                raise Stopped

        return progress


def a_recipe() -> CtrlWorldRecipe:
    """The toy's tokenizer and hand, and a tiny denoiser whose training is kept every 5 steps."""
    toy = toy_recipe(steps=10)
    return replace(
        TINY,
        tokenizer=toy.tokenizer,
        actuation=toy.actuation,
        kinematics=toy.kinematics,
        held_out=toy.held_out,
        trainer=replace(TINY.trainer, steps=22, save_every=5),
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Prepared:
    home = tmp_path_factory.mktemp("families")
    data = toy_shards(home / "data", episodes=4)
    return prepare(a_recipe(), data, [], home / "world", seed=0, report=Watch())


def train(toy: Prepared, folder: Path, watch: Watch) -> None:
    train_world(a_recipe(), toy, folder, kind="ctrl_world", seed=0, report=watch)


def test_an_interrupted_training_goes_on_with_its_hand(toy: Prepared, tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    train(toy, straight, Watch())
    with pytest.raises(Stopped):
        train(toy, broken, Watch(stop_at="base: denoiser"))
    assert {path.name for path in broken.iterdir()} == {TRAINING, HAND}
    watch = Watch()
    train(toy, broken, watch)
    assert watch.stages == ["base: denoiser"]
    for folder in (straight, broken):
        assert not (folder / TRAINING).exists() and not (folder / HAND).exists()
        assert "fidelity" in read_card(folder)
    first, second = (load_weights(each / "dynamics.safetensors") for each in (straight, broken))
    for key, value in first.items():
        assert torch.equal(second[key], value), key


def test_the_hand_of_another_training_is_refused(toy: Prepared, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(toy, tmp_path, Watch(stop_at="base: denoiser"))
    recipe = a_recipe()
    other = replace(recipe, kinematics=replace(recipe.kinematics, width=8))
    with pytest.raises(UserError, match=HAND):
        train_world(other, toy, tmp_path, kind="ctrl_world", seed=0, report=Watch())
