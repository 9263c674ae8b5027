"""Clips of known rows: the past at a stride, the future after it, never another episode."""

from dataclasses import replace

import numpy as np
import torch

from tests.world.ctrl_world.tiny import LATENT, some_episodes
from worldeval.world.ctrl_world.clips import Clips, stacked, training_backs, unstacked
from worldeval.world.ctrl_world.recipe import MemoryRecipe


def test_frames_stand_in_order_and_the_start_stands_for_what_was_before() -> None:
    clips = Clips(some_episodes((6, 5)))
    back = torch.tensor([[4, 2], [4, 2]])
    clip = clips.cut(torch.tensor([3, 7]), back, 1)  # frame 3 of episode 0, frame 1 of episode 1
    assert clip.poses[..., 0].tolist() == [[0, 1, 3, 4], [0, 0, 1, 2]]
    assert clip.poses[..., 1].tolist() == [[0, 0, 0, 0], [1, 1, 1, 1]]
    assert clip.task.tolist() == [0, 1]


def test_latents_are_those_of_the_poses() -> None:
    data = some_episodes((6, 5))
    clip = Clips(data).cut(torch.tensor([7, 2]), torch.tensor([[1], [1]]), 2)
    expected = np.asarray(data.latents)[[[6, 7, 8, 9], [1, 2, 3, 4]]]
    np.testing.assert_array_equal(clip.latents.numpy(), expected.astype(np.float32))


def test_another_episode_changes_nothing() -> None:
    data = some_episodes((6, 5))
    other = np.array(data.latents)
    other[:6] += 1  # all of episode 0
    rows, back = torch.tensor([6, 8]), torch.full((2, 3), 100)
    before = Clips(data).cut(rows, back, 2)
    after = Clips(replace(data, latents=other)).cut(rows, back, 2)
    assert torch.equal(before.latents, after.latents)


def test_strides_are_drawn_one_a_clip_and_sometimes_none() -> None:
    memory = MemoryRecipe(strides=(4, 8), still=0.25, recall=(3, 2, 1))
    backs = training_backs(4000, memory, torch.Generator().manual_seed(0))
    assert {tuple(row) for row in backs.tolist()} == {(0, 0, 0), (12, 8, 4), (24, 16, 8)}
    assert abs(float((backs[:, 0] == 0).float().mean()) - 0.25) < 0.03


def test_views_stand_above_one_another() -> None:
    latents = torch.randn(2, 3, *LATENT)
    frames = stacked(latents, 1)
    assert frames.shape == (2, 3, 3, 8, 4)
    assert torch.equal(frames[:, :, :, :4], latents[:, :, 0])
    assert torch.equal(frames[:, :, :, 4:], latents[:, :, 1])
    for patch in (1, 2):
        assert torch.equal(unstacked(stacked(latents, patch), views=2, patch=patch), latents)
