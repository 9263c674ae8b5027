"""Simulators in processes of their own: the same answers, and what happens when one fails."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from tests.support import gym_robot  # noqa: F401  (registers the environment here)
from worldeval.envs.address import open_environment
from worldeval.envs.apart import TRIES, ApartEnvironment, SimulatorLost, redone
from worldeval.errors import UserError

PLACE = "gym:tests.support.gym_robot:toy/Reach-v0"  # the module, so that other processes know it

FAULTY = """
import os, sys, time
import tests.support.gym_robot
from worldeval.envs.gym import GymEnvironment

class Faulty(GymEnvironment):
    '''Fails at its second frame, as often as the file says.'''

    def step(self, action, *, look=True):
        left = int(open(LEFT).read())
        if left:
            open(LEFT, "w").write(str(left - 1))
            if HOW == "dies":
                os._exit(9)
            if HOW == "hangs":
                time.sleep(1000)
            if HOW == "exits":
                sys.exit(0)
            if HOW == "interrupts":
                raise KeyboardInterrupt
            if HOW == "answers wrongly":
                return {"pose": 1}
            raise ValueError("the joints came loose")
        return super().step(action, look=look)

def make(steps_per_frame):
    return Faulty("toy/Reach-v0", {}, size=0, steps_per_frame=steps_per_frame)
"""


def faulty(folder: Path, how: str, times: int) -> str:
    """The address of a simulator that fails `times` times."""
    left = folder / "left"
    left.write_text(str(times))
    (folder / "faulty.py").write_text(f"LEFT, HOW = {str(left)!r}, {how!r}\n{FAULTY}")
    return f"{folder}/faulty.py:make"


@pytest.fixture
def opened() -> Iterator[list[ApartEnvironment]]:
    envs: list[ApartEnvironment] = []
    yield envs
    for env in envs:
        env.close()


def poses(env, seed: int = 1) -> list[list[float]]:
    frames = [env.reset(seed), env.step(np.ones(2, np.float32)), env.step(np.ones(2, np.float32))]
    return [frame.pose.tolist() for frame in frames]


def test_it_answers_as_it_does_in_this_process(opened: list[ApartEnvironment]) -> None:
    near = open_environment(PLACE, task="reach", size=0, steps_per_frame=1)
    far = ApartEnvironment(PLACE, task="reach", size=0, steps_per_frame=1)
    opened.append(far)
    assert (far.views, far.action_dim, far.steps_per_frame, far.fps) == (
        near.views, near.action_dim, near.steps_per_frame, near.fps,
    )  # fmt: skip
    assert poses(far) == poses(near)
    assert all(
        np.array_equal(far.reset(4).frames[view], near.reset(4).frames[view]) for view in near.views
    )
    assert far.step(np.zeros(2, np.float32), look=False).frames == {}


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("dies", "status 9"),
        ("hangs", "did not answer within"),
        ("raises", "came loose"),
        ("exits", "raised SystemExit: 0"),
        ("interrupts", "raised KeyboardInterrupt"),
        ("answers wrongly", "step returned a dict, not an EnvFrame"),
    ],
)
def test_an_episode_is_redone_where_it_fails(
    opened: list[ApartEnvironment], tmp_path: Path, how: str, says: str
) -> None:
    env = ApartEnvironment(
        faulty(tmp_path, how, 1), task="reach", size=0, steps_per_frame=1, patience=3.0
    )
    opened.append(env)
    with pytest.raises(SimulatorLost, match=says):
        poses(env)
    (tmp_path / "left").write_text("1")
    env.restart()
    assert redone(env, lambda: poses(env), "seed 1") == [
        pytest.approx(row) for row in ([0.0, 0.0], [0.1, 0.1], [0.2, 0.2])
    ]


def test_what_fails_again_and_again_is_told(opened: list[ApartEnvironment], tmp_path: Path) -> None:
    env = ApartEnvironment(faulty(tmp_path, "dies", 99), task="reach", size=0, steps_per_frame=1)
    opened.append(env)
    with pytest.raises(UserError, match=f"failed {TRIES} times in seed 1: .*status 9"):
        redone(env, lambda: poses(env), "seed 1")
    assert int((tmp_path / "left").read_text()) == 99 - TRIES


def test_what_cannot_be_opened_is_refused() -> None:
    with pytest.raises(UserError, match="There is no gymnasium environment"):
        ApartEnvironment("gym:nobody/Nothing-v0", task="t", size=0, steps_per_frame=1)


REUSING = """
import numpy as np
from worldeval.envs.protocol import EnvFrame

class Reusing:
    '''Draws every frame into the same arrays, and overwrites the action it was given.'''

    views, action_dim, steps_per_frame, fps = ("top",), 2, 1, 10.0

    def reset(self, seed):
        self.pose, self.frame = np.zeros(2, np.float32), np.zeros((4, 4, 3), np.uint8)
        return EnvFrame(frames={"top": self.frame}, pose=self.pose, success=False)

    def step(self, action, *, look=True):
        self.pose += action
        self.frame += 1
        action[:] = 99
        return EnvFrame(frames={"top": self.frame}, pose=self.pose, success=False)

    def close(self):
        pass
"""


def test_what_a_simulator_reuses_does_not_change_what_it_gave(
    opened: list[ApartEnvironment], tmp_path: Path
) -> None:
    (tmp_path / "sim.py").write_text(REUSING)
    env = ApartEnvironment(f"{tmp_path}/sim.py:Reusing", task="t", size=0, steps_per_frame=1)
    opened.append(env)
    action = np.ones(2, np.float32)
    frames = [env.reset(0), env.step(action), env.step(action)]
    assert action.tolist() == [1, 1]
    assert [frame.pose[0] for frame in frames] == [0, 1, 2]
    assert [frame.frames["top"].max() for frame in frames] == [0, 1, 2]
    frames[-1].pose[:] = 50
    assert env.step(action).pose.tolist() == [3, 3]
