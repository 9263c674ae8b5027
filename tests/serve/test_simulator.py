"""A simulator on a server answers as it does here, and fails as one here would."""

from pathlib import Path

import numpy as np
import pytest
from websockets.sync.client import connect

pytest.importorskip("gymnasium")

from tests.envs.test_apart import PLACE, faulty, poses
from tests.support import gym_robot  # noqa: F401  (registers the environment here)
from tests.support.serving import DotWorld, dot_starts, serving
from worldeval.api.serve import ServerOptions, serve_env
from worldeval.envs.address import is_code, needs_task, open_environment
from worldeval.envs.apart import ApartEnvironment, SimulatorLost, redone
from worldeval.errors import UserError
from worldeval.policy.remote.wire import pack
from worldeval.serve.episodes import Setting
from worldeval.serve.simulator import SimulatorService
from worldeval.serve.world import WorldService

HERE = {"task": "reach", "size": 0, "steps_per_frame": 2}


def test_it_answers_as_it_does_here() -> None:
    near = open_environment(PLACE, **HERE)
    with serving(SimulatorService(PLACE)) as (url, _):
        far = open_environment(url, **HERE)
        assert (far.views, far.action_dim, far.steps_per_frame, far.fps) == (
            near.views, near.action_dim, near.steps_per_frame, near.fps,
        )  # fmt: skip
        action = np.array([1, 0, 0.5, -1], np.float32)
        for seed in (3, 4):
            pairs = [(far.reset(seed), near.reset(seed)), (far.step(action), near.step(action))]
            for seen, known in pairs:
                assert np.array_equal(seen.pose, known.pose)
                assert (seen.success, seen.over) == (known.success, known.over)
                assert all(np.array_equal(seen.frames[v], known.frames[v]) for v in near.views)
        assert far.step(action, look=False).frames == {}
        far.close()


def test_one_that_dies_on_the_server_is_started_again_there(tmp_path: Path) -> None:
    address = faulty(tmp_path, "dies", 1)
    with serving(SimulatorService(address)) as (url, _):
        env = ApartEnvironment(url, task="reach", size=0, steps_per_frame=1)
        try:
            with pytest.raises(SimulatorLost, match="status 9"):
                poses(env)
            (tmp_path / "left").write_text("1")
            env.restart()
            assert len(redone(env, lambda: poses(env), "seed 1")) == 3
        finally:
            env.close()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"look": 1}, "must contain 'open', 'reset', or 'step'"),
        ({"open": 3}, "must be maps with task, size and steps"),
        ({"open": {"task": "t", "size": -1, "steps": 1}}, "'size' must be an integer"),
        ({"step": np.zeros(2, np.float32)}, "needs a simulator that was reset"),
        ({"reset": {"task": "t", "size": 1, "steps": 1, "seed": True}}, "'seed' must be an int"),
    ],
)
def test_hostile_messages_are_answered_in_words(message: dict, said: str) -> None:
    with serving(SimulatorService(PLACE)) as (url, _), connect(url) as client:
        client.recv()
        client.send(pack(message))
        answer = client.recv(timeout=60)
        assert isinstance(answer, str) and said in answer


def test_what_is_no_simulator_is_refused() -> None:
    world = WorldService(Setting(world=DotWorld(), starts=dot_starts(1), horizon=2))
    with serving(world) as (url, _), pytest.raises(UserError, match="does not serve a simulator"):
        open_environment(url, **HERE)
    assert not is_code("ws://host:8000")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("gym:toy/Nothing-v0", "Nothing"),
        (f"{PLACE}?pose=elsewhere", "elsewhere"),
        ("./nowhere.py:make", "no file"),
    ],
)
def test_what_does_not_open_is_refused_before_it_is_served(address: str, said: str) -> None:
    told: list[object] = []
    with pytest.raises(UserError, match=said):
        serve_env(address, options=ServerOptions(port=0), ready=told.append)
    assert not told


def test_a_simulator_of_several_tasks_is_opened_by_its_clients(tmp_path: Path) -> None:
    (tmp_path / "sim.py").write_text("def one(size): ...\ndef many(task, size): ...\n")
    assert needs_task(f"{tmp_path}/sim.py:many") and not needs_task(f"{tmp_path}/sim.py:one")
    assert needs_task("metaworld") and needs_task("gym:{task}") and not needs_task(PLACE)
