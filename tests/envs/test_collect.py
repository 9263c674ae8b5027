"""Scripted collection: an episode in which the simulator dies is driven again, no other one."""

import os
from pathlib import Path

import numpy as np
import pytest

from worldeval.data.formats.shards.layout import ShardEpisode
from worldeval.data.source import open_source
from worldeval.envs.apart import TRIES, SimulatorFailed
from worldeval.envs.metaworld.collect import _collect_shard, _Job
from worldeval.envs.metaworld.recipe import CollectRecipe, DriverRecipe
from worldeval.record import Episode

RECIPE = CollectRecipe(tasks=("push",), drivers=(DriverRecipe(name="expert", share=1.0),))


class Dying:
    """Dies in episode 1, as often as the file says; notes every episode that is begun."""

    facts = None

    def __init__(self, folder: str, recipe: CollectRecipe, seed: int) -> None:
        self._folder = Path(folder)

    def episode(self, number: int) -> ShardEpisode:
        with (self._folder / "begun").open("a") as file:
            file.write(f"{number} ")
        left = int((self._folder / "left").read_text())
        if number == 1 and left:
            (self._folder / "left").write_text(str(left - 1))
            os._exit(11)
        episode = Episode(
            id=f"{number}", frames={"side": np.full((2, 8, 8, 3), number, np.uint8)}, task="push",
            actions=np.zeros((2, 4), np.float32), pose=np.zeros((2, 4), np.float32), success=True,
            fps=16.0, source="expert",
        )  # fmt: skip
        return ShardEpisode(episode=episode, flags=np.array([0, 1], np.uint8), seed=number)

    def close(self) -> None: ...


def job(folder: Path, *, deaths: int) -> _Job:
    (folder / "left").write_text(str(deaths))
    (folder / "out").mkdir()
    return _Job(path=folder / "out/a.h5", task=str(folder), numbers=range(3), recipe=RECIPE, seed=0)


def test_a_lost_episode_is_driven_again(tmp_path: Path) -> None:
    _collect_shard(job(tmp_path, deaths=1), make=Dying)
    assert (tmp_path / "begun").read_text().split() == ["0", "1", "1", "2"]
    assert [head.seed for head in open_source(tmp_path / "out").heads] == [0, 1, 2]


def test_a_simulator_that_always_dies_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SimulatorFailed, match=f"failed {TRIES} times in episode 1"):
        _collect_shard(job(tmp_path, deaths=99), make=Dying)
    assert not (tmp_path / "out/a.h5").exists()
