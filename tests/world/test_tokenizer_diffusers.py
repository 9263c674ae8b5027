"""Autoencoders of diffusers from a local folder, random and tiny, as tokenizers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.toy import toy_recipe, toy_shards
from worldeval.errors import UserError
from worldeval.world.diffusers_import import need_diffusers
from worldeval.world.load import load_world
from worldeval.world.recipe import TokenizerRecipe
from worldeval.world.tokenizer.build import new_tokenizer
from worldeval.world.tokenizer.pretrained import DiffusersTokenizer
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import prepare

SIZE = (16, 24)
NONE = torch.zeros(3, dtype=torch.long)
SETTINGS = {
    "AutoencoderKL": {"block_out_channels": (32, 32), "latent_channels": 4, "layers_per_block": 1},
    "AutoencoderTiny": {
        "encoder_block_out_channels": (16, 16),
        "decoder_block_out_channels": (16, 16),
        "num_encoder_blocks": (1, 1),
        "num_decoder_blocks": (1, 1),
        "latent_channels": 4,
    },
    "AutoencoderKLTemporalDecoder": {
        "block_out_channels": (32, 32),
        "latent_channels": 4,
        "layers_per_block": 1,
    },
}
BLOCKS = {
    "AutoencoderKL": {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    },
    "AutoencoderKLTemporalDecoder": {"down_block_types": ("DownEncoderBlock2D",) * 2},
    "AutoencoderTiny": {},
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_kind_encodes_and_decodes_as_diffusers_does(kind: str, tmp_path: Path) -> None:
    vae = save(kind, tmp_path)
    tokenizer = DiffusersTokenizer(tmp_path, size=SIZE)
    frames = torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        given = vae.encode(2 * frames - 1)
    raw = given.latents if kind == "AutoencoderTiny" else given.latent_dist.mode()
    latents = tokenizer.encode(frames, NONE, NONE)
    assert latents.shape == (3, *tokenizer.grid) == (3, 4, 8, 12)
    torch.testing.assert_close(latents, raw * vae.config.scaling_factor)
    alone = {"num_frames": 1} if kind == "AutoencoderKLTemporalDecoder" else {}
    with torch.no_grad():
        expected = (vae.decode(raw, **alone).sample + 1) / 2
    torch.testing.assert_close(tokenizer.decode(latents, NONE, NONE), expected, atol=1e-4, rtol=0)


def test_a_pipelines_folder_is_its_vaes(tmp_path: Path) -> None:
    save("AutoencoderKL", tmp_path / "vae")
    assert DiffusersTokenizer(tmp_path, size=SIZE).folder == tmp_path / "vae"


def test_a_frame_is_decoded_alike_alone_and_among_others(tmp_path: Path) -> None:
    save("AutoencoderKLTemporalDecoder", tmp_path)
    tokenizer = DiffusersTokenizer(tmp_path, size=SIZE)
    latents = torch.randn(3, *tokenizer.grid, generator=torch.Generator().manual_seed(0))
    together = tokenizer.decode(latents, NONE, NONE)
    alone = tokenizer.decode(latents[1:2], NONE[:1], NONE[:1])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-4)


def test_another_autoencoder_in_the_folder_is_noticed(tmp_path: Path) -> None:
    save("AutoencoderKL", tmp_path, seed=0)
    state = DiffusersTokenizer(tmp_path, size=SIZE).state_dict()
    assert list(state) == ["fingerprint"]  # the weights stay in their folder
    DiffusersTokenizer(tmp_path, size=SIZE).load_state_dict(state)
    save("AutoencoderKL", tmp_path, seed=1)
    with pytest.raises(UserError, match="is not the autoencoder"):
        DiffusersTokenizer(tmp_path, size=SIZE).load_state_dict(state)


def test_what_is_no_autoencoder_says_so(tmp_path: Path) -> None:
    recipe = TokenizerRecipe(folder=str(tmp_path))
    with pytest.raises(UserError, match="contains no autoencoder"):
        new_tokenizer(recipe, tasks=1, views=1, size=SIZE)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(UserError, match="holds a UNet2DModel; a tokenizer must be one of"):
        new_tokenizer(recipe, tasks=1, views=1, size=SIZE)
    save("AutoencoderKL", tmp_path)
    with pytest.raises(UserError, match="2 x 2 pixels, which does not divide frames of 15 x 24"):
        new_tokenizer(recipe, tasks=1, views=1, size=(15, 24))
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match="does not hold complete weights"):
        new_tokenizer(recipe, tasks=1, views=1, size=SIZE)


def test_a_world_is_trained_on_it_stored_without_it_and_loaded_with_it(tmp_path: Path) -> None:
    save("AutoencoderKL", tmp_path / "vae")
    recipe = toy_recipe(steps=2)
    recipe = replace(recipe, tokenizer=TokenizerRecipe(folder=str(tmp_path / "vae")))
    data = toy_shards(tmp_path / "data", episodes=3)
    home = tmp_path / "world"

    def quiet(stage: str, steps: int):
        return lambda step, loss: None

    prepared = prepare(recipe, data, [], home, seed=0, report=quiet)
    assert prepared.spec.latent == (4, 8, 8)
    train_world(recipe, prepared, home, kind="latent", seed=0, report=quiet)
    assert (home / "tokenizer.safetensors").stat().st_size < 1000
    world = load_world(home)
    latents = np.zeros((1, 2, 4, 8, 8), np.float32)
    assert world.render(latents, ["left"])["side"].shape == (1, 16, 16, 3)


def save(kind: str, folder: Path, *, seed: int = 0):
    """A random autoencoder of this kind, written as diffusers writes it."""
    torch.manual_seed(seed)
    vae = getattr(need_diffusers("this test"), kind)(**SETTINGS[kind], **BLOCKS[kind]).eval()
    vae.save_pretrained(folder)
    return vae
