"""Training windows: nothing of the future leaks in, and the past is padded by the start."""

from dataclasses import replace

import numpy as np
import torch

from tests.support import dots
from worldeval.data.latents import LatentEpisodes
from worldeval.world.hand.commands import actuation_of
from worldeval.world.memory import nearest
from worldeval.world.recipe import ActuationRecipe
from worldeval.world.training.windows import Windows, steps


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
    return Windows(episodes(), actuation_of(ActuationRecipe(scale=scale), dots.SPEC), torch.ones(4))


def test_a_window_in_the_middle() -> None:
    batch = windows().unrolled(torch.tensor([3]), 2)
    assert batch.pose[0, :, 0].tolist() == [1, 2, 3, 4, 5]
    assert batch.latents.flatten().tolist() == [2, 3, 4, 5]
    assert batch.actions[0, :, 0].tolist() == [101, 102, 103, 104, 105]
    assert batch.there.all()
    assert batch.first is not None and batch.first.item() == 0


def test_before_the_start_stands_the_start_without_actions() -> None:
    batch = windows().unrolled(torch.tensor([6]), 1)
    assert batch.pose[0, :, 0].tolist() == [6, 6, 6, 7]
    assert batch.actions[0, :, 0].tolist() == [0, 0, 106, 107]
    assert batch.there.tolist() == [[False, False, True, True]]
    assert batch.task.tolist() == [1]


def test_memory_is_older_than_the_window() -> None:
    # Targets 4 and 5: the nearest frames would be 3 and 4, but only 0 and 1 are old enough.
    batch = windows().unrolled(torch.tensor([3]), 2)
    assert batch.older is not None and batch.older_latents is not None
    assert batch.older_latents.flatten().tolist() == [1, 1]
    assert batch.older.age.flatten().tolist() == [3, 4]
    nothing = windows().unrolled(torch.tensor([0]), 1)
    assert nothing.older is not None and nothing.older_latents is not None
    assert nothing.older_latents.item() == 0 and not nothing.older.there.any()


def test_transitions_stay_within_their_episode() -> None:
    assert episodes().transitions(np.array([0, 1]), 3).tolist() == [0, 1, 2, 6, 7]


def test_the_command_is_the_clipped_sum_of_actions() -> None:
    recipe = ActuationRecipe(scale=0.5, low=(-1, -1, -1), high=(1, 1, 1), step_dim=4)
    actuation = actuation_of(recipe, replace(dots.SPEC, action_dim=8))
    command = torch.tensor([[0.0, 0.9, 0.0]])
    action = torch.tensor([[1.0, 1.0, -1.0, 0.0, 1.0, -1.0, 0.0, 0.0]])
    # x: .5 then 1; y: clipped to 1, then .5; z: -.5, then stays.
    assert actuation.step(command, action).tolist() == [[1.0, 0.5, -0.5]]


def test_no_offset_reaches_another_episode() -> None:
    # Frame 1 of the first episode and frame 3 of the second, at strides of their own.
    offsets = torch.tensor([[-4, -2, 0, 2, 4], [-8, -1, 0, 1, 9]])
    cut = windows().cut(torch.tensor([1, 9]), offsets, shown=[0, 4])
    assert cut.pose[..., 0].tolist() == [[0, 0, 1, 3, 5], [6, 8, 9, 10, 10]]
    assert cut.there.tolist() == [[False, False, True, True, True], [False, *[True] * 3, False]]
    assert cut.latents.flatten(1).tolist() == [[0, 5], [6, 10]]
    assert cut.task.tolist() == [0, 1]


def test_what_was_achieved_stays_achieved_within_its_episode() -> None:
    flags = np.array([0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0], np.uint8)
    told = Windows(replace(episodes(), flags=flags)).cut(torch.tensor([0, 6]), steps(0, 4))
    assert told.success.int().tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]
    assert told.achieved.int().tolist() == [[0, 1, 1, 1, 1], [0, 0, 0, 1, 1]]
    assert told.judged.all()
    assert not windows().cut(torch.tensor([0]), steps(0, 1)).judged.any()


def test_the_nearest_allowed_pose_is_chosen() -> None:
    candidates = torch.tensor([[[0.0], [1.0], [2.0]]])
    target, scale = torch.tensor([[1.9]]), torch.ones(1)
    for allowed, found in (
        ([True, True, True], 2),
        ([True, True, False], 1),
        ([False, False, False], 0),
    ):
        got = nearest(candidates, torch.tensor([allowed]), target, scale=scale)
        assert got.place.tolist() == [[found]]
        assert got.there.tolist() == [[any(allowed)]]
    two = nearest(candidates, torch.tensor([[True, True, True]]), target, scale=scale, count=2)
    assert two.place.tolist() == [[2, 1]]
