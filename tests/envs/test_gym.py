"""Gymnasium environments by address: what is found, what is asked for, what is refused."""

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from tests.support import gym_robot
from worldeval.envs.address import open_environment, read_env_address, refuse_env_code, unavailable
from worldeval.envs.gym import GymEnvironment
from worldeval.envs.protocol import Environment
from worldeval.errors import UserError

PLACE = "gym:toy/Reach-v0"


def opened(query: str = "", *, k: int = 1) -> Environment:
    return open_environment(f"{PLACE}{query}", task="reach", size=64, steps_per_frame=k)


def steered(env: Environment, seed: int, frames: int = 12) -> list[bool]:
    """Move straight to the goal, which the wrist camera shows in its brightness."""
    frame = env.reset(seed)
    flags = []
    for _ in range(frames):
        goal = gym_goal(env)
        action = np.clip((goal - frame.pose) / gym_robot.STEP, -1, 1).astype(np.float32)
        frame = env.step(np.tile(action / env.steps_per_frame, env.steps_per_frame))
        flags.append(frame.success)
    return flags


def gym_goal(env: Environment) -> np.ndarray:
    assert isinstance(env, GymEnvironment)
    return env.env.unwrapped.goal


def test_what_is_no_simulator_is_said_before_it_is_served(tmp_path) -> None:
    assert "not a simulator's address" in (unavailable("nope") or "")
    assert "There is no file" in (unavailable(f"{tmp_path}/none.py:make") or "")
    assert unavailable("ws://127.0.0.1:9") is None


def test_what_is_there_is_found() -> None:
    env = opened()
    assert env.views == ("front", "wrist")
    frame = env.reset(3)
    assert {view: image.shape for view, image in frame.frames.items()} == {
        "front": (24, 32, 3),
        "wrist": (16, 16, 3),
    }
    assert frame.pose.tolist() == [0.0, 0.0]
    assert (env.action_dim, env.fps) == (2, 20.0)


@pytest.mark.parametrize(("query", "moved"), [("", 1.0), ("?clip=true", 1.0), ("?clip=false", 3.0)])
def test_actions_beyond_the_declared_space(query: str, moved: float) -> None:
    env = opened(query)
    env.reset(0)
    frame = env.step(np.array([3, -3], np.float32))
    assert frame.pose == pytest.approx(np.array([moved, -moved]) * gym_robot.STEP)


def test_clip_is_yes_or_no() -> None:
    with pytest.raises(UserError, match="clip must be true or false, not 3"):
        opened("?clip=3")


def test_several_steps_make_a_frame() -> None:
    env = opened(k=4)
    assert (env.action_dim, env.fps) == (8, 5.0)
    env.reset(0)
    frame = env.step(np.array([1, 0, 1, 0, 1, 0, -1, 1], np.float32))
    assert frame.pose == pytest.approx([0.2, 0.1])


def test_a_seed_decides_the_episode() -> None:
    env = opened()
    first, again, other = (env.reset(seed).frames["wrist"] for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_success_is_reached_and_seen() -> None:
    assert any(steered(opened(), 1))
    assert not any(steered(opened(), 1, frames=1))


def test_pictures_are_copies_of_what_the_simulator_draws_into() -> None:
    env = opened("?pixels=false&views=render&render_mode=rgb_array&pose=agent_pos")
    begin = env.reset(0).frames["render"]
    before = begin.copy()
    env.step(np.ones(2, np.float32))
    assert np.array_equal(begin, before)


def test_nobody_looks_and_nothing_is_drawn() -> None:
    env = opened()
    env.reset(0)
    assert env.step(np.zeros(2, np.float32), look=False).frames == {}


def test_what_is_over_stays_over() -> None:
    env = opened("?limit=3")
    env.reset(0)
    frames = [env.step(np.ones(2, np.float32)) for _ in range(5)]
    assert [frame.over for frame in frames] == [False, False, True, True, True]
    assert frames[4].pose.tolist() == frames[2].pose.tolist()
    assert frames[2].frames


@pytest.mark.parametrize("query", ["?success=reward>=0.5", "?success=reward>0", "?success=done"])
def test_success_by_rule_and_by_key(query: str) -> None:
    query += "&tells=done" if "done" in query else "&tells=null"
    assert any(steered(opened(query), 1))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?tells=null", "does not report success"),
        ("?pixels=false", "gives no images"),
        ("?views=pixels/frnt", "pixels/front"),
        ("?pose=agnt_pos", "agent_pos"),
        ("?nothing=1", "does not accept these parameters"),
    ],
)
def test_what_is_not_known_is_asked_for(query: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        steered(opened(query), 1, frames=2)


def test_a_parameter_called_as_ours_goes_through() -> None:
    with pytest.raises(UserError, match="fps"):
        opened("?env.fps=3")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("gym:nobody/Nothing-v0", "no gymnasium environment"),
        ("metaworl", "metaworld"),
        ("gym:toy/Reach-v0?views", "key=value"),
        ("./nowhere.py:make", "no file"),
        ("json:loads", "does not accept these parameters|not a simulator"),
    ],
)
def test_wrong_addresses(address: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        open_environment(address, task="t", size=8, steps_per_frame=1)


def test_code_of_ones_own(tmp_path) -> None:
    (tmp_path / "sim.py").write_text(
        "import gym_robot\n"
        "from worldeval.envs.gym import GymEnvironment\n"
        "def make(task, steps_per_frame, far=False):\n"
        "    assert task == 'reach' and far\n"
        "    return GymEnvironment('toy/Reach-v0', {}, size=0, steps_per_frame=steps_per_frame)\n"
        "def broken():\n"
        "    return 3\n"
    )
    place = f"{tmp_path}/sim.py"
    made = open_environment(f"{place}:make?far=true", task="reach", size=8, steps_per_frame=2)
    assert made.action_dim == 4
    with pytest.raises(UserError, match="lacks views, action_dim"):
        open_environment(f"{place}:broken", task="reach", size=8, steps_per_frame=2)
    with pytest.raises(UserError, match="If you trust it"):
        refuse_env_code([f"{place}:make"], tmp_path / "recipe.yaml")
    refuse_env_code(["metaworld", PLACE], tmp_path / "recipe.yaml")


def test_parameters_are_read_and_tasks_filled_in() -> None:
    assert read_env_address("gym:A/B-v0?a=1&b=x%20y&c=null") == (
        "gym:A/B-v0",
        {"a": 1, "b": "x y", "c": None},
    )
    with pytest.raises(UserError, match="'toy/Push-v0'"):
        open_environment("gym:toy/{task}-v0", task="Push", size=8, steps_per_frame=1)
    assert unavailable(PLACE) is None
