"""Known weights: the official state dict, Stable Video Diffusion, and what does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.world.ctrl_world.official import official_shapes
from tests.world.ctrl_world.tiny import UNET
from worldeval.errors import UserError
from worldeval.recipe import load
from worldeval.world.ctrl_world.network import CtrlWorldNetwork
from worldeval.world.ctrl_world.recipe import UnetRecipe
from worldeval.world.ctrl_world.weights import (
    load_checkpoint,
    load_pose_stats,
    load_state,
    load_svd,
    save_checkpoint,
)

HERE = Path("checkpoint.pt")


def test_the_official_state_dict_loads_strictly_at_full_size() -> None:
    with torch.device("meta"):
        recipe = load("ctrl-world", "model").config.unet
        network = CtrlWorldNetwork(recipe, channels=4, pose_dim=7)
        state = {key: torch.empty(shape) for key, shape in official_shapes().items()}
    load_state(network, state, where=HERE)
    numbers = sum(each.numel() for each in network.unet.parameters())
    assert numbers == 1_524_623_082  # what Stable Video Diffusion's UNet has
    assert network.state_dict().keys() == {
        key for key in state if key.startswith(("unet.", "action_encoder."))
    }


@pytest.mark.parametrize(
    ("key", "shape", "said"),
    [
        ("unet.conv_in.weight", None, "unet.conv_in.weight is missing"),
        ("unet.conv_in.wieght", (3,), "unet.conv_in.wieght is not part of the network"),
        ("optimizer.step", (1,), "optimizer.step is not part of the network"),
        (
            "action_encoder.action_encode.0.weight",
            (1024, 8),
            r"action_encode.0.weight is \(1024, 8\), expected \(1024, 7\)",
        ),
    ],
)
def test_every_key_that_does_not_fit_is_named(key: str, shape: tuple | None, said: str) -> None:
    shapes = official_shapes()
    if shape is None:
        del shapes[key]
    else:
        shapes[key] = shape
    with torch.device("meta"):
        network = CtrlWorldNetwork(UnetRecipe(), channels=4, pose_dim=7)
        state = {name: torch.empty(each) for name, each in shapes.items()}
    with pytest.raises(UserError, match=said):
        load_state(network, state, where=HERE)


def test_a_checkpoint_comes_back_from_both_kinds_of_file(tmp_path: Path) -> None:
    first, state = tiny(0), tiny(0).state_dict()
    torch.save({**state, "vae.encoder.conv_in.weight": torch.zeros(1)}, tmp_path / "official.pt")
    save_checkpoint(first, tmp_path / "ours.safetensors")
    assert load_file(tmp_path / "ours.safetensors").keys() == state.keys()
    for name, within in (("official.pt", 0.0), ("ours.safetensors", 1e-3)):  # half precision
        again = tiny(1)
        load_checkpoint(again, tmp_path / name)
        for key, value in again.state_dict().items():
            torch.testing.assert_close(value, state[key], atol=within, rtol=within)


def test_a_pickle_of_anything_else_is_refused(tmp_path: Path) -> None:
    torch.save({"model": tiny(0).state_dict(), "path": tmp_path}, tmp_path / "whole.pt")
    with pytest.raises(UserError, match="not a plain file of tensors"):
        load_checkpoint(tiny(0), tmp_path / "whole.pt")
    with pytest.raises(UserError, match="There is no checkpoint"):
        load_checkpoint(tiny(0), tmp_path / "none.pt")


def test_stable_video_diffusion_is_read_from_its_folder(tmp_path: Path) -> None:
    first, second = tiny(0), tiny(1)
    first.unet.save_pretrained(tmp_path / "unet")
    own = "action_encoder.action_encode.0.weight"
    kept = second.state_dict()[own].clone()
    load_svd(second, tmp_path)
    for key, value in second.unet.state_dict().items():
        assert torch.equal(value, first.unet.state_dict()[key])
    assert torch.equal(second.state_dict()[own], kept)


def test_an_unet_of_other_heads_is_refused_although_its_shapes_fit(tmp_path: Path) -> None:
    tiny(0).unet.save_pretrained(tmp_path)
    other = UnetRecipe(
        widths=(32, 32), heads=(2, 2), attention=(True, False), layers=1, token=16, time_width=8
    )
    with pytest.raises(UserError, match=r"has \[1, 2\] heads, but the recipe has \[2, 2\]"):
        load_svd(CtrlWorldNetwork(other, channels=3, pose_dim=4), tmp_path)
    with pytest.raises(UserError, match="is not Stable Video Diffusion"):
        load_svd(tiny(0), tmp_path / "elsewhere")


def test_pose_statistics_of_the_papers_file(tmp_path: Path) -> None:
    path = tmp_path / "stat.json"
    path.write_text('{"state_01": [0.0, -1.0], "state_99": [1.0, 1.0]}')
    low, high = load_pose_stats(path)
    assert (low.tolist(), high.tolist()) == ([0.0, -1.0], [1.0, 1.0])
    path.write_text("{}")
    with pytest.raises(UserError, match="state_01"):
        load_pose_stats(path)


def tiny(seed: int) -> CtrlWorldNetwork:
    torch.manual_seed(seed)
    return CtrlWorldNetwork(UNET, channels=3, pose_dim=4)
