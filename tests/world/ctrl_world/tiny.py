"""A network of Ctrl-World's classes that a test runs in milliseconds."""

import numpy as np
import torch

from worldeval.data.latents import LatentEpisodes
from worldeval.world.ctrl_world.denoiser import VideoDenoiser
from worldeval.world.ctrl_world.recipe import (
    CtrlWorldRecipe,
    EdmRecipe,
    LongTrainerRecipe,
    MemoryRecipe,
    UnetRecipe,
)

LATENT = (2, 3, 4, 4)  # v d h w
POSE = 4
UNET = UnetRecipe(
    widths=(32, 32), heads=(1, 2), attention=(True, False), layers=1, token=16, time_width=8
)
TINY = CtrlWorldRecipe(
    unet=UNET,
    edm=EdmRecipe(sigma_max=20.0, steps=2, guidance=(1.0, 1.0)),
    memory=MemoryRecipe(strides=(1, 2), recall=(2, 1)),
    future=2,
    condition_scale=1.0,
    trainer=LongTrainerRecipe(steps=10, batch=4, learning_rate=2e-3, ema=0.9, save_every=0),
)


def a_denoiser(recipe: CtrlWorldRecipe = TINY, *, tasks: int = 2) -> VideoDenoiser:
    """A fresh network, the same every time, in which everything speaks."""
    torch.manual_seed(0)
    denoiser = VideoDenoiser(recipe, latent=LATENT, pose_dim=POSE, tasks=tasks).eval()
    with torch.no_grad():
        for weight in denoiser.parameters():
            weight.add_(0.02 * torch.randn(weight.shape))
    return denoiser


def some_episodes(lengths: tuple[int, ...] = (6, 5), *, seed: int = 0) -> LatentEpisodes:
    """Episodes of random latents; the poses of frame t hold t and the episode's number."""
    rng = np.random.default_rng(seed)
    length = np.array(lengths)
    begin = np.cumsum(length) - length
    frames = int(length.sum())
    pose = np.zeros((frames, POSE), np.float32)
    pose[:, 0] = np.concatenate([np.arange(each) for each in lengths])
    pose[:, 1] = np.repeat(np.arange(len(lengths)), length)
    return LatentEpisodes(
        latents=rng.standard_normal((frames, *LATENT)).astype(np.float16),
        actions=rng.standard_normal((frames, 8)).astype(np.float32),
        pose=pose,
        task=np.arange(len(lengths)) % 2,
        begin=begin,
        length=length,
    )
