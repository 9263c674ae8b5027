"""The Lift benchmark: a reset depends on its seed alone; recordings are read as they are meant."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from worldeval.data.source import open_source

os.environ.setdefault("MUJOCO_GL", "osmesa")
if importlib.util.find_spec("robosuite") is None:
    pytest.skip("robosuite is not installed", allow_module_level=True)
from robosuite_env import VIEWS, Lift
from robosuite_lift import write


@pytest.fixture(scope="module")
def env() -> Lift:
    return Lift(4)


def test_the_same_seed_begins_the_same_episode(env: Lift) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (3, env.action_dim)).astype(np.float32)

    def episode(seed: int) -> list:
        return [env.reset(seed), *(env.step(action) for action in actions)]

    first, other, again = episode(5), episode(7), episode(5)
    for one, same in zip(first, again, strict=True):
        assert np.array_equal(one.pose, same.pose)
        assert all(np.array_equal(one.frames[view], same.frames[view]) for view in VIEWS)
    assert not np.array_equal(first[0].frames["agentview"], other[0].frames["agentview"])


def test_a_step_without_a_look_moves_the_robot_alike(env: Lift) -> None:
    down = np.tile(np.array([0, 0, -0.5, 0, 0, 0, -1], np.float32), 4)
    env.reset(3)
    seen = env.step(down)
    env.reset(3)
    unseen = env.step(down, look=False)
    assert not unseen.frames
    assert np.array_equal(seen.pose, unseen.pose)
    assert seen.pose[2] < env.reset(3).pose[2] - 0.02  # metres


def test_recordings_are_read_without_a_map(tmp_path: Path) -> None:
    write(tmp_path / "demos.hdf5", styles={"expert": 1.0}, episodes=1, first_seed=0)
    source = open_source(tmp_path / "demos.hdf5")
    (head,) = source.heads
    assert (head.task, head.source, head.success) == ("Lift", "expert", True)
    assert dict(source.spec.views) == VIEWS
    means = [group.means for group in source.spec.meaning.action]
    assert means == ["position", "rotation", "gripper"]
    assert not source.spec.meaning.guessed
