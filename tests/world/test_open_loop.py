"""The fidelity that ends every training: a perfect world errs by nothing, episodes by turns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from torch import nn

from tests.support.dit import SPEC
from worldeval.data.latents import LatentEpisodes
from worldeval.world.fidelity.replay import open_loop
from worldeval.world.walk import Walk, stepped
from worldeval.world.world import World

LENGTHS = (9, 6, 3, 9)


@dataclass(frozen=True, kw_only=True)
class At:
    """Which episodes are imagined, and at which frame they are."""

    episodes: list[int]
    frame: int = 0


class Knowing(World):
    """A world that knows the recordings; episode `lost` it misses by one everywhere."""

    def __init__(self, data: LatentEpisodes, *, lost: int | None = None) -> None:
        super().__init__(SPEC, tokenizer=None)
        self.data, self.lost = data, lost
        self.asked: list[int] = []
        self.furthest = 0

    @property
    def parts(self) -> dict[str, nn.Module]:
        return {}

    def begin_latents(self, latents: Any, pose: Any, tasks: Any, seeds: Sequence[int]) -> At:
        self.asked += seeds
        return At(episodes=list(seeds))

    def observe_latents(self, state: At, latents: Any, pose: Any) -> At:
        return state

    def step(self, state: At, actions: Any) -> At:
        self.furthest = max(self.furthest, state.frame + 1)
        return replace(state, frame=state.frame + 1)

    def walk(self, state: At, actions: Any) -> Walk:
        return stepped(self, state, actions)

    def latents(self, state: At) -> np.ndarray:
        found = self.data.latents[self._rows(state)].astype(np.float32)
        found[[episode == self.lost for episode in state.episodes]] += 1
        return found

    def pose(self, state: At) -> np.ndarray:
        return self.data.pose[self._rows(state)]

    def _rows(self, state: At) -> np.ndarray:
        frame = np.minimum(state.frame, self.data.length[state.episodes] - 1)
        return self.data.begin[state.episodes] + frame


def recorded() -> LatentEpisodes:
    """Latents of a frame all hold its number in the episode; the hand walks a metre a frame."""
    number = np.concatenate([np.arange(each) for each in LENGTHS])
    pose = np.zeros((len(number), SPEC.pose_dim), np.float32)
    pose[:, 0] = number
    shape = (len(number), len(SPEC.views), *SPEC.latent)
    return LatentEpisodes(
        latents=np.broadcast_to(number[:, None, None, None, None], shape).astype(np.float16),
        actions=np.zeros((len(number), SPEC.action_dim), np.float32),
        pose=pose,
        task=np.array([0, 0, 0, 1]),
        begin=np.cumsum(LENGTHS) - np.array(LENGTHS),
        length=np.array(LENGTHS),
    )


def test_a_perfect_world_errs_by_nothing() -> None:
    data = recorded()
    found = open_loop(Knowing(data), data, np.arange(4), horizons=(1, 4, 8, 20), batch=3)
    assert [(key, row["episodes"]) for key, row in found.items()] == [
        ("h1", 4),
        ("h4", 3),
        ("h8", 2),
    ]
    for key, row in found.items():
        assert (row["latent_mse"], row["hand_mm"]) == (0, 0)
        assert row["copy_mse"] == int(key[1:]) ** 2


def test_errors_are_means_over_the_episodes_that_are_long_enough() -> None:
    data = recorded()
    world = Knowing(data, lost=1)
    found = open_loop(world, data, np.arange(4), horizons=(1, 4, 8))
    errors = [row["latent_mse"] for row in found.values()]
    assert errors == pytest.approx([1 / 4, 1 / 3, 0])


def test_episodes_are_taken_by_turns_and_walked_no_further_than_they_go() -> None:
    data = recorded()
    world = Knowing(data)
    open_loop(world, data, np.arange(4), horizons=(2, 20), most=2)
    assert world.asked == [0, 3]  # one of each task
    assert world.furthest == 8


def test_episodes_that_are_too_short_leave_nothing_to_say() -> None:
    data = recorded()
    assert open_loop(Knowing(data), data, np.array([2]), horizons=(5,)) == {}
