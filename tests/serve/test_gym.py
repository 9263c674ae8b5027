"""A served world model by gymnasium's own ways: names, vectors, seeds; and by little else."""

import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

from tests.serve.test_env import far, setting
from tests.support.serving import serving
from worldeval.errors import UserError
from worldeval.serve.client import RemoteWorldEnv
from worldeval.serve.env import WorldEnv, WorldVectorEnv
from worldeval.serve.episodes import ServedEpisodes
from worldeval.serve.gym_ids import WORLD, register
from worldeval.serve.world import WorldService


def test_gymnasium_makes_it_by_name_alone_and_in_vectors() -> None:
    register()
    with serving(WorldService(setting(far))) as (url, _):
        env = gymnasium.make(WORLD, url=url)
        seen, info = env.reset(seed=3)
        assert seen["pixels"]["side"].shape == (8, 8, 3)
        assert info["task_description"] == env.unwrapped.task_description  # type: ignore[attr-defined]
        vector = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(WORLD, url=url)] * 2)
        batch = gymnasium.make_vec(WORLD, num_envs=2, url=url)
        assert isinstance(batch, RemoteWorldEnv)
        shown = [one.reset(seed=[3, 8])[0]["agent_pos"] for one in (vector, batch)]
        np.testing.assert_array_equal(*shown)
        np.testing.assert_array_equal(shown[0][0], seen["agent_pos"])
        for one in (vector, batch):
            assert one.call("_max_episode_steps") == (4, 4)
            assert one.call("task_description") == one.call("task")
            picture: Any = one.envs[1].render()
            assert picture.shape == (8, 16, 3)
            one.close()
        env.close()


def test_processes_of_gymnasiums_each_have_a_session() -> None:
    with serving(WorldService(setting(far))) as (url, _):
        make = [lambda: gymnasium.make("worldeval.serve.gym_ids:" + WORLD, url=url)] * 2
        vector = gymnasium.vector.AsyncVectorEnv(make, context="spawn")
        seen, _ = vector.reset(seed=[3, 8])
        here = WorldVectorEnv(ServedEpisodes(setting(far)), num_envs=2)
        np.testing.assert_array_equal(seen["agent_pos"], here.reset(seed=[3, 8])[0]["agent_pos"])
        vector.close()


def test_one_seed_is_those_that_follow_it() -> None:
    env = WorldVectorEnv(ServedEpisodes(setting()), num_envs=3)
    first = env.reset(seed=5)[0]["agent_pos"]
    np.testing.assert_array_equal(first, env.reset(seed=[5, 6, 7])[0]["agent_pos"])
    alone = WorldEnv(ServedEpisodes(setting())).reset(seed=6)[0]["agent_pos"]
    np.testing.assert_array_equal(first[1], alone)
    with pytest.raises(UserError, match="2 seeds for 3 envs"):
        env.reset(seed=[1, 2])


def test_the_last_step_says_how_it_ended() -> None:
    env = WorldVectorEnv(ServedEpisodes(setting(far, horizon=2)), num_envs=2)
    env.reset(seed=0, options={"starts": [0, 1]})
    go = np.array([[1, 0, 0], [0, 0, 0]], np.float32)
    assert "final_info" not in env.step(go)[4]
    info = env.step(go)[4]
    assert info["final_info"]["is_success"].tolist() == [True, False]


def test_what_a_user_writes_into_is_the_users_own() -> None:
    """Observations, information and actions: the episode goes on as it would have."""
    ends = []
    for careless in (False, True):
        env = WorldVectorEnv(ServedEpisodes(setting(far)), num_envs=2)
        seen, info = env.reset(seed=0, options={"starts": [0, 1]})
        for _ in range(3):
            action = np.full((2, 3), 0.5, np.float32)
            if careless:
                seen["agent_pos"][:] = 99
                seen["pixels"]["side"][:] = 255
                info["success_probability"][:] = 1
                for picture in env.render() or ():
                    picture[:] = 0
            seen, *_, info = env.step(action)
            action[:] = 99
        ends.append((seen["agent_pos"], seen["pixels"]["side"], info["success_probability"]))
    for plain, spoilt in zip(*ends, strict=True):
        np.testing.assert_array_equal(plain, spoilt)


def test_a_client_needs_little() -> None:
    """numpy, msgpack, websockets and gymnasium: it must run in somebody else's environment."""
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('jaxtyping', 'dacite', 'scipy', 'h5py', 'torch', 'yaml',"
        " 'pandas', 'einops', 'PIL', 'typer', 'rich'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import worldeval.serve.client, worldeval.serve.gym_ids\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"numpy", "msgpack", "websockets", "gymnasium"} <= set(done.stdout.split())


def test_lerobots_loop_learns_of_a_success() -> None:
    """It looks into `final_info` of a SyncVectorEnv that begins anew within the last step."""
    with serving(WorldService(setting(far, horizon=2))) as (url, _):
        vector = gymnasium.vector.SyncVectorEnv(
            [lambda: gymnasium.make(WORLD, url=url)] * 2,
            autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
        )
        vector.reset(seed=[0, 1])
        go = np.array([[1, 0, 0], [0, 0, 0]], np.float32)
        assert "final_info" not in vector.step(go)[4]
        assert vector.step(go)[4]["final_info"]["is_success"].tolist() == [True, False]
        vector.close()
