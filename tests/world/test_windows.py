"""Training windows: nothing of the future leaks in, and the past is padded by the start."""

import numpy as np
import torch

from worldeval.data.latents import LatentEpisodes
from worldeval.world.context import nearest_by_pose
from worldeval.world.hand.commands import Actuation
from worldeval.world.recipe import ActuationRecipe
from worldeval.world.training.windows import Windows


def episodes() -> LatentEpisodes:
    """Two episodes of 6 and 5 frames whose latents are their row numbers."""
    rows = np.arange(11, dtype=np.float32)
    pose = np.stack([rows, rows * 0, rows * 0, rows * 0], 1)
    return LatentEpisodes(
        latents=rows.reshape(-1, 1, 1, 1, 1).astype(np.float16),
        actions=np.repeat(rows[:, None] + 100, 4, 1),
        pose=pose,
        task=np.array([0, 1]),
        begin=np.array([0, 6]),
        length=np.array([6, 5]),
    )


def windows(scale: float = 0.0) -> Windows:
    return Windows(episodes(), Actuation(ActuationRecipe(scale=scale)), torch.ones(4))


def test_a_window_in_the_middle() -> None:
    batch = windows().batch(torch.tensor([3]), 2)
    assert batch.pose[0, :, 0].tolist() == [1, 2, 3, 4, 5]
    assert batch.latents.flatten().tolist() == [2, 3, 4, 5]
    assert batch.actions[0, :, 0].tolist() == [101, 102, 103, 104]
    assert batch.first.item() == 0


def test_before_the_start_stands_the_start_without_actions() -> None:
    batch = windows().batch(torch.tensor([6]), 1)
    assert batch.pose[0, :, 0].tolist() == [6, 6, 6, 7]
    assert batch.actions[0, :, 0].tolist() == [0, 0, 106]
    assert batch.task.tolist() == [1]


def test_memory_is_older_than_the_window() -> None:
    # Targets 4 and 5: the nearest frames would be 3 and 4, but only 0 and 1 are old enough.
    batch = windows().batch(torch.tensor([3]), 2)
    assert batch.memory.flatten().tolist() == [1, 1]
    assert windows().batch(torch.tensor([0]), 1).memory.item() == 0


def test_transitions_stay_within_their_episode() -> None:
    assert episodes().transitions(np.array([0, 1]), 3).tolist() == [0, 1, 2, 6, 7]


def test_the_command_is_the_clipped_sum_of_actions() -> None:
    recipe = ActuationRecipe(scale=0.5, low=(-1, -1, -1), high=(1, 1, 1), step_dim=4)
    actuation = Actuation(recipe)
    command = torch.tensor([[0.0, 0.9, 0.0]])
    action = torch.tensor([[1.0, 1.0, -1.0, 0.0, 1.0, -1.0, 0.0, 0.0]])
    # x: .5 then 1; y: clipped to 1, then .5; z: -.5, then stays.
    assert actuation.step(command, action).tolist() == [[1.0, 0.5, -0.5]]


def test_the_nearest_allowed_pose_is_chosen() -> None:
    candidates = torch.tensor([[[0.0], [1.0], [2.0]]])
    target, scale = torch.tensor([[1.9]]), torch.ones(1)
    every = torch.tensor([[True, True, True]])
    assert nearest_by_pose(candidates, every, target, scale).tolist() == [2]
    older = torch.tensor([[True, True, False]])
    assert nearest_by_pose(candidates, older, target, scale).tolist() == [1]
    nothing = torch.tensor([[False, False, False]])
    assert nearest_by_pose(candidates, nothing, target, scale).tolist() == [0]
