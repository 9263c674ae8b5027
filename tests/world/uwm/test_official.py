"""The published network of UWM: its keys and shapes, its attention of times, and its sampler."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from worldeval.errors import UserError
from worldeval.world.diffusers_import import need_diffusers
from worldeval.world.uwm.ddim import CosineDdim
from worldeval.world.uwm.official import OfficialUwm, OfficialUwmRecipe, load_official

SMALL = OfficialUwmRecipe(
    views=2,
    chunk=3,
    action_dim=5,
    latent=(4, 2, 8, 8),
    width=24,
    image_width=16,
    time_width=8,
    depth=2,
    heads=2,
    registers=1,
)


def published(recipe: OfficialUwmRecipe) -> dict[str, Tensor]:
    """A random state dict with the keys and shapes of the authors' code, written out."""
    width, images, times = recipe.width, recipe.image_width, recipe.time_width
    condition, hidden = recipe.views * recipe.seen * images + times, 4 * width
    t, h, w = recipe.patch
    shapes: dict[str, tuple[int, ...]] = {
        "obs_patchifier.patch_encoder.weight": (width, 4, t, h, w),
        "obs_patchifier.patch_encoder.bias": (width,),
        "registers": (1, recipe.registers, width),
        "pos_embed": (1, recipe.chunk + recipe.cells + recipe.registers, width),
    }
    linear = {
        "obs_patchifier.patch_decoder": (4 * t * h * w, width),
        "action_encoder.0": (hidden, recipe.action_dim),
        "action_encoder.2": (width, hidden),
        "action_decoder.0": (hidden, width),
        "action_decoder.2": (recipe.action_dim, hidden),
        "timestep_embedding.proj.0": (4 * times, 2 * times),
        "timestep_embedding.proj.2": (times, 4 * times),
        "head.linear": (width, width),
        "head.adaLN_modulation.1": (2 * width, condition),
    }
    for n in range(recipe.depth):
        linear |= {
            f"blocks.{n}.attn.qkv": (3 * width, width),
            f"blocks.{n}.attn.proj": (width, width),
            f"blocks.{n}.mlp.fc1": (hidden, width),
            f"blocks.{n}.mlp.fc2": (width, hidden),
            f"blocks.{n}.adaLN_modulation.1": (6 * width, condition),
        }
    shapes = {f"noise_pred_net.{key}": shape for key, shape in shapes.items()}
    shapes |= resnet("obs_encoder.img_encoder.model.", images)
    shapes |= {
        "obs_encoder.vae.scale": (1, 4, 1, 1),
        "obs_encoder.vae.vae.encoder.conv_in.bias": (8,),
    }
    for key, (outputs, inputs) in linear.items():
        shapes[f"noise_pred_net.{key}.weight"] = (outputs, inputs)
        shapes[f"noise_pred_net.{key}.bias"] = (outputs,)
    generator = torch.Generator().manual_seed(0)
    return {key: 0.1 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def resnet(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    """torchvision's resnet18, whose batch norms became group norms."""
    out: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}
    norms, before = {"bn1": 64}, 64
    for level, channels in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            at = f"layer{level}.{block}"
            out[f"{at}.conv1.weight"] = (channels, before, 3, 3)
            out[f"{at}.conv2.weight"] = (channels, channels, 3, 3)
            norms |= {f"{at}.bn1": channels, f"{at}.bn2": channels}
            if before != channels:
                out[f"{at}.downsample.0.weight"] = (channels, before, 1, 1)
                norms[f"{at}.downsample.1"] = channels
            before = channels
    for name, channels in norms.items():
        out |= {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}
    out |= {"fc.weight": (width, 512), "fc.bias": (width,)}
    return {prefix + key: shape for key, shape in out.items()}


def loaded(tmp_path: Path, recipe: OfficialUwmRecipe = SMALL) -> OfficialUwm:
    path = tmp_path / "uwm.pt"
    torch.save({"model": {f"module.{k}": v for k, v in published(recipe).items()}, "step": 3}, path)
    network = recipe.build().eval()
    load_official(network, path)
    return network


def test_a_published_state_dict_loads_strictly(tmp_path: Path) -> None:
    network, state = loaded(tmp_path), published(SMALL)
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key])
    path = tmp_path / "other.pt"
    torch.save(published(replace(SMALL, depth=3)), path)
    with pytest.raises(UserError, match=r"blocks\.2\.\S+ is not part .* and 2 more"):
        load_official(network, path)
    torch.save(published(replace(SMALL, chunk=4)), path)
    with pytest.raises(UserError, match=r"pos_embed is \(1, 13, 24\), expected \(1, 12, 24\)"):
        load_official(network, path)
    del state["noise_pred_net.registers"]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"noise_pred_net\.registers is missing"):
        load_official(network, path)
    path.write_bytes(b"no tensors")
    with pytest.raises(UserError, match="not a plain file"):
        load_official(network, path)


def test_the_network_for_droid_has_its_published_sizes() -> None:
    recipe = OfficialUwmRecipe()
    with torch.device("meta"):
        network = recipe.build()
    assert recipe.cells == 3 * 7 * 7
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert shapes["noise_pred_net.pos_embed"] == (1, 16 + 147 + 8, 768)
    assert shapes["noise_pred_net.blocks.11.adaLN_modulation.1.weight"] == (6 * 768, 5120)
    assert shapes["noise_pred_net.action_encoder.0.weight"] == (3072, 10)


def test_both_parts_see_each_other_and_both_times(tmp_path: Path) -> None:
    network = loaded(tmp_path)
    torch.manual_seed(1)
    seen = network.see(torch.rand(2, 2, 3, 2, 32, 32))
    assert seen.shape == (2, SMALL.views * SMALL.seen * SMALL.image_width)
    given = [seen, torch.randn(2, 3, 5), torch.tensor([3, 90]), torch.randn(2, 2, 4, 2, 8, 8)]
    given.append(torch.tensor([0, 50]))
    before = network(*given)
    assert [each.shape for each in before] == [given[1].shape, given[3].shape]
    for place in range(5):
        other = list(given)
        other[place] = given[place] + 1
        for one, two in zip(network(*other), before, strict=True):
            assert not torch.allclose(one, two)


def test_patches_come_back_to_their_places(tmp_path: Path) -> None:
    """With a decoder that inverts the encoder, a future is itself again."""
    network = loaded(tmp_path, replace(SMALL, width=128))
    patches = network.noise_pred_net.obs_patchifier
    nn.init.eye_(patches.patch_decoder.weight)
    nn.init.zeros_(patches.patch_decoder.bias)
    assert patches.patch_encoder.bias is not None
    nn.init.zeros_(patches.patch_encoder.bias)
    patches.patch_encoder.weight.data = torch.eye(128).view(128, 4, 2, 4, 4)
    future = torch.randn(2, 2, 4, 2, 8, 8)
    torch.testing.assert_close(patches.back(patches(future)), future)


def test_the_sampler_is_that_of_diffusers() -> None:
    schedulers = need_diffusers("this test")
    theirs = schedulers.DDIMScheduler(100, beta_schedule="squaredcos_cap_v2", clip_sample=True)
    theirs.set_timesteps(10)
    ours = CosineDdim(100)
    times = ours.ladder(10)
    assert times == theirs.timesteps.tolist()
    torch.manual_seed(0)
    x = torch.randn(3, 7)
    for now, then in zip(times, [*times[1:], -1], strict=True):
        found = torch.randn(3, 7)
        expected = theirs.step(found, now, x).prev_sample
        x = ours.step(found, x, now, then)
        torch.testing.assert_close(x, expected, atol=1e-5, rtol=1e-5)


def test_a_future_is_sampled_within_the_clip_and_follows_the_actions(tmp_path: Path) -> None:
    network = loaded(tmp_path)
    torch.manual_seed(2)
    seen, noise = torch.randn(2, 64), torch.randn(2, 2, 4, 2, 8, 8)
    one = network.imagine(seen, torch.zeros(2, 3, 5), noise)
    two = network.imagine(seen, torch.ones(2, 3, 5), noise)
    assert one.abs().max() <= 1 and not torch.allclose(one, two)
