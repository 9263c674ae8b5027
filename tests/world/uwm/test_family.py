"""From a recipe to a stored world: base, folds and their mean, and what is read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.dots import SPEC, TOLD, walks
from tests.support.toy import toy_recipe
from tests.support.trained_family import FEW, trained_family
from worldeval.data.latents import LatentEpisodes
from worldeval.world.families import Fitting
from worldeval.world.training.prepare import Prepared
from worldeval.world.uwm.family import fit, new
from worldeval.world.uwm.fit import action_free
from worldeval.world.uwm.recipe import UwmRecipe
from worldeval.world.uwm.world import UwmWorld

TOY = toy_recipe()
RECIPE = UwmRecipe(
    width=16,
    depth=1,
    heads=2,
    channels=8,
    chunk=2,
    tokenizer=TOY.tokenizer,
    actuation=TOY.actuation,
    held_out=TOY.held_out,
    kinematics=replace(TOY.kinematics, trainer=FEW),
    trainer=FEW,
)


def test_a_recipe_becomes_a_world_on_the_disk(prepared: Prepared, tmp_path: Path) -> None:
    statistics = ("change_std", "features.action_std")
    world = trained_family(RECIPE, prepared, tmp_path, kind="uwm", statistics=statistics)
    assert isinstance(world, UwmWorld)


def test_some_actions_must_be_seen() -> None:
    with pytest.raises(ValueError, match="action_free"):
        UwmRecipe(action_free=1.0)


def test_nothing_that_is_trained_depends_on_the_actions_of_action_free_episodes(
    tmp_path: Path,
) -> None:
    data = walks(episodes=8)
    free = action_free(np.arange(8), 0.25)
    of_free = np.isin(data.episode_of_row, free)
    others = replace(data, actions=np.where(of_free[:, None], 1e6, data.actions))
    seen = replace(data, actions=np.where(of_free[:, None], data.actions, 0.5 * data.actions))
    weights = [
        all_weights(trained(each, tmp_path / str(number)))
        for number, each in enumerate((data, others, seen))
    ]
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key
    # Those of the other episodes do matter.
    for part in ("kinematics.features.action_std", "model.features.action_std"):
        torch.testing.assert_close(weights[2][part], 0.5 * weights[0][part], rtol=0.01, atol=1e-3)
    assert not torch.equal(weights[0]["model.last.weight"], weights[2]["model.last.weight"])


def trained(data: LatentEpisodes, folder: Path) -> UwmWorld:
    """A world of which a quarter of the training episodes is video."""
    recipe = replace(RECIPE, action_free=0.25, patch=2, actuation=TOLD)
    nothing = np.zeros(0, np.int64)
    folder.mkdir()
    torch.manual_seed(0)
    world = new(SPEC, recipe)
    fit(
        Fitting(
            world=world,
            recipe=recipe,
            prepared=Prepared(spec=SPEC, tokenizer=None, episodes=data, held=nothing, weak=nothing),
            episodes=np.arange(len(data)),
            seed=0,
            report=lambda stage, steps: lambda step, loss: None,
            stage="base",
            fresh=True,
            folder=folder,
        )
    )
    return world


def all_weights(world: UwmWorld) -> dict[str, torch.Tensor]:
    return world.networks_state()
