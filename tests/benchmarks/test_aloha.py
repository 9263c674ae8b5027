"""The recorder of benchmarks/aloha.py: what it writes is read as it is meant."""

from pathlib import Path

import numpy as np
import pytest
from aloha import ROBOT, TASK, turned, write

from worldeval.config import build
from worldeval.data.data_map import DataMap
from worldeval.data.source import open_source


def test_a_gripper_points_and_its_fingers_move_where_it_is_turned() -> None:
    down = turned(180, 90, 0)
    assert down[:, 0] == pytest.approx([0, 0, -1], abs=1e-9)  # forward
    assert down[:, 1] == pytest.approx([0, -1, 0], abs=1e-9)  # along the fingers
    assert turned(0, 0, 90)[:, 1] == pytest.approx([0, 0, 1], abs=1e-9)


def test_an_episode_is_read_at_five_frames_a_second_with_its_success(tmp_path: Path) -> None:
    rows = 21
    pictures = np.repeat(np.arange(3, dtype=np.uint8), 10)[:rows, None, None, None]
    found = {
        "action": np.tile(np.arange(rows, dtype=np.float32)[:, None], (1, 14)),
        "qpos": np.zeros((rows, 14), np.float32),
        "reward": np.where(np.arange(rows) == 14, 4, 2),
        "above": np.broadcast_to(pictures, (rows, 8, 8, 3)),
    }
    write(tmp_path / "episode_3.hdf5", found, ("above",), "careless")
    given = build(DataMap, {**ROBOT.map, "every": ROBOT.every}, where="the robot's map")
    source = open_source(tmp_path, given=given)
    (head,) = source.heads
    assert (source.spec.format, source.spec.fps, head.length) == ("aloha", 5.0, 3)
    assert (head.success, head.source, head.task) == (True, "careless", TASK)
    read = source.rows(0)
    assert read.flags is not None and read.flags.tolist() == [0, 0, 1]
    assert read.actions[1, ::14].tolist() == list(range(10, 20))
    assert source.frames(0, "above")[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_a_drive_reaches_the_places_that_it_plans() -> None:
    pytest.importorskip("gym_aloha")
    from aloha import Arm
    from aloha_env import Aloha

    env = Aloha()
    env.reset(0)
    place, turn = np.array([0.1, 0.5, 0.1]), turned(180, 60, 0)
    joints = Arm(env, "right").joints(place, turn, np.array([0.0, -0.96, 1.16, 0.0, -0.3, 0.0]))
    env.data.qpos[8:14] = joints
    env.mujoco.mj_kinematics(env.model, env.data)
    gripper = env.model.body("vx300s_right/gripper_link").id
    reached = env.data.xpos[gripper] + env.data.xmat[gripper].reshape(3, 3) @ Arm.TOOL
    assert reached == pytest.approx(place, abs=1e-3)
