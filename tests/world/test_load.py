"""Where a stored world imagines: on a GPU where there is one, whatever its family."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support import dit
from tests.world.ctrl_world import tiny as ctrl_world
from tests.world.rssm import tiny as rssm
from tests.world.uwm import tiny as uwm
from worldeval.world import load
from worldeval.world.ctrl_world.world import CtrlWorld
from worldeval.world.hand.commands import actuation_of
from worldeval.world.hand.kinematics import new_kinematics
from worldeval.world.world import World


def a_ctrl_world() -> CtrlWorld:
    recipe = ctrl_world.TINY
    return CtrlWorld(
        dit.SPEC,
        tokenizer=None,
        kinematics=new_kinematics(recipe.kinematics, dit.SPEC),
        denoiser=ctrl_world.a_denoiser(recipe),
        actuation=actuation_of(recipe.actuation, dit.SPEC),
    )


FAMILIES = (dit.a_world, uwm.new_world, rssm.new_world, a_ctrl_world)


def two_frames(world: World) -> Any:
    """The state of two episodes, two frames after random starts."""
    spec, rng = world.spec, np.random.default_rng(0)
    latents = torch.from_numpy(rng.standard_normal((2, len(spec.views), *spec.latent)))
    pose = rng.standard_normal((2, spec.pose_dim)).astype(np.float32)
    state = world.begin_latents(latents, pose, [spec.tasks[0]] * 2, [0, 1])
    for actions in rng.standard_normal((2, 2, spec.action_dim)).astype(np.float32):
        state = world.step(state, actions)
    return state


def test_a_stored_world_goes_where_torch_computes(
    world: World, toy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "pick_device", {"auto": torch.device("meta")}.get)
    loaded = load.load_world(toy_folder / "world")
    assert loaded.device.type == "meta"
    assert loaded.tokenizer is not None
    assert {each.device.type for each in loaded.tokenizer.state_dict().values()} == {"meta"}
    # Nobody computes on the meta device, but whoever mixes devices is refused on it.
    assert two_frames(loaded).latents.device.type == "meta"


def test_a_stored_world_stays_where_it_is_told_to(world: World, toy_folder: Path) -> None:
    assert load.load_world(toy_folder / "world", device="cpu").device.type == "cpu"


@pytest.mark.parametrize("make", FAMILIES)
def test_every_family_imagines_where_it_is(make: Callable[[], World]) -> None:
    state = two_frames(make().to("meta"))
    assert (state.latents.device.type, state.poses.device.type) == ("meta", "meta")


@pytest.mark.gpu
@pytest.mark.parametrize("make", FAMILIES)
def test_a_gpu_imagines_what_the_cpu_does(make: Callable[[], World]) -> None:
    here, there = make(), make().to("cuda")
    at_home, away = two_frames(here), two_frames(there)
    assert away.latents.device.type == "cuda"
    np.testing.assert_allclose(there.latents(away), here.latents(at_home), atol=1e-2)
    np.testing.assert_allclose(there.pose(away), here.pose(at_home), atol=1e-2)
