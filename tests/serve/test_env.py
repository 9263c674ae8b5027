"""The world model as gymnasium environments, here and over a websocket."""

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.support.serving import DotWorld, cut_off, dot_starts, serving
from worldeval.errors import UserError
from worldeval.record import Verdict
from worldeval.serve.client import RemoteWorldEnv
from worldeval.serve.env import WorldEnv, WorldVectorEnv
from worldeval.serve.episodes import ServedEpisodes, Setting
from worldeval.serve.world import WorldService


def far(rollouts) -> list[Verdict]:
    """A judge that calls it success when the first coordinate is two from where it began."""
    return [
        Verdict(
            probability=float(rollout.pose[-1, 0] - rollout.pose[0, 0] > 1.9), step=0, judge="far"
        )
        for rollout in rollouts
    ]


def setting(judge=None, horizon: int = 4) -> Setting:
    return Setting(world=DotWorld(), starts=dot_starts(6), horizon=horizon, judge=judge)


def test_gymnasiums_own_checker_finds_nothing() -> None:
    with warnings.catch_warnings():
        # Only the remark that render modes cannot be varied without a registered name.
        warnings.filterwarnings("ignore", message=".*not having a spec.*")
        check_env(WorldEnv(ServedEpisodes(setting(far))))


def test_an_episode_of_known_steps() -> None:
    env = WorldEnv(ServedEpisodes(setting(far)))
    seen, info = env.reset(seed=0, options={"start": 5})
    assert seen["agent_pos"].tolist() == [5, 5, 5]
    assert env.task_description == info["task_description"] == "right"
    told = [env.step(np.array([1, 0, 0], np.float32)) for _ in range(4)]
    assert [step[0]["agent_pos"][0] for step in told] == [6, 7, 8, 9]
    assert [step[1] for step in told] == [0, 1, 0, 0]  # the reward is given once
    assert [step[4]["is_success"] for step in told] == [False, True, True, True]
    assert [step[3] for step in told] == [False, False, False, True]
    assert seen["pixels"]["side"].shape == (8, 8, 3)
    assert seen["pixels"]["side"][0, 0, 0] == 178 and seen["pixels"]["top"][0, 0, 0] == 89


def test_a_batch_goes_on_after_its_horizon() -> None:
    env = WorldVectorEnv(ServedEpisodes(setting(horizon=2)), num_envs=3)
    env.reset(seed=1, options={"starts": [0, 1, 2]})
    env.step(np.zeros((3, 3), np.float32))
    _, _, ended, cut, _ = env.step(np.zeros((3, 3), np.float32))
    assert cut.all() and not ended.any()
    seen, reward, _, cut, info = env.step(np.ones((3, 3), np.float32))
    assert not cut.any() and not reward.any()
    assert set(seen["agent_pos"][:, 0]) <= set(range(6))  # new starts, the action is not used
    assert env.observation_space.contains(seen)
    assert not info["is_success"].any()  # nobody judges


def spoiling(rollouts) -> list[Verdict]:
    """A judge that overwrites what it has judged."""
    found = far(rollouts)
    for rollout in rollouts:
        for array in (rollout.pose, rollout.actions, rollout.latents):
            array[:] = 99
    return found


@pytest.mark.parametrize("judge", [far, spoiling])
def test_what_a_user_or_judge_writes_into_stays_theirs(judge) -> None:
    env, spoilt = (WorldEnv(ServedEpisodes(setting(own))) for own in (far, judge))
    told, again = env.reset(seed=3)[0], spoilt.reset(seed=3)[0]
    action = np.array([1, 0, 0], np.float32)
    for _ in range(4):
        np.testing.assert_equal(again, told)
        for array in (again["agent_pos"], *again["pixels"].values(), spoilt.render()):
            array[:] = 0
        told, *rest = env.step(np.array([1, 0, 0], np.float32))
        again, *also = spoilt.step(action)
        assert also[:3] == rest[:3]
        action[:] = [5, 5, 5]  # the array that was sent
        action[:] = [1, 0, 0]


def test_vectors_are_copies_too() -> None:
    envs = [WorldVectorEnv(ServedEpisodes(setting(far)), num_envs=2) for _ in range(2)]
    for env in envs:
        env.reset(seed=3)
    for _ in range(4):
        told, again = (env.step(np.ones((2, 3), np.float32)) for env in envs)
        np.testing.assert_equal(again[:4], told[:4])
        for array in (*again[1:4], again[0]["agent_pos"], again[4]["is_success"]):
            array[:] = 1


def test_seeds_draw_the_same_starts() -> None:
    draws = []
    for _ in range(2):
        env = WorldVectorEnv(ServedEpisodes(setting()), num_envs=4)
        draws.append([env.reset(seed=9)[0]["agent_pos"], env.reset()[0]["agent_pos"]])
    np.testing.assert_array_equal(draws[0], draws[1])


def test_wild_actions_are_mended_and_counted() -> None:
    env = WorldVectorEnv(ServedEpisodes(setting()), num_envs=2)
    env.reset(seed=0, options={"starts": [0, 0]})
    wild = np.array([[np.nan, 9, 0.5], [-np.inf, 0, 0]], np.float32)
    seen, _, _, _, info = env.step(wild)
    assert seen["agent_pos"].tolist() == [[0, 1, 0.5], [-1, 0, 0]]
    assert info["mended_actions"].tolist() == [2, 1]


def test_mistakes_say_what_is_needed() -> None:
    env = WorldVectorEnv(ServedEpisodes(setting()), num_envs=2)
    with pytest.raises(UserError, match="no start 6; starts are numbered 0 to 5"):
        env.reset(options={"starts": [0, 6]})
    env.reset(seed=0)
    with pytest.raises(UserError, match=r"shape \(2, 5\); expected \(2, 3\)"):
        env.step(np.zeros((2, 5), np.float32))
    with pytest.raises(UserError, match="1 to 64"):
        WorldVectorEnv(ServedEpisodes(setting()), num_envs=65)
    with pytest.raises(UserError, match="needs starts of left, right"):
        ServedEpisodes(Setting(world=DotWorld(), starts=[], horizon=3))


def test_the_same_world_over_a_websocket() -> None:
    here = WorldVectorEnv(ServedEpisodes(setting(far)), num_envs=3)
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 3, 3)).astype(np.float32)
    with serving(WorldService(setting(far))) as (url, _):
        there = RemoteWorldEnv(url, num_envs=3)
        assert there.observation_space == here.observation_space
        for env in (here, there):
            env.reset(seed=3)
        # A dropped connection is opened again, and what went before is repeated.
        for number, action in enumerate(actions):
            if number == 2:
                cut_off(there._remote._connection)
            near, far_away = here.step(action), there.step(action)
            np.testing.assert_array_equal(near[0]["agent_pos"], far_away[0]["agent_pos"])
            for view in ("side", "top"):
                np.testing.assert_array_equal(near[0]["pixels"][view], far_away[0]["pixels"][view])
            assert [part.tolist() for part in near[1:4]] == [
                part.tolist() for part in far_away[1:4]
            ]
            assert near[4]["is_success"].tolist() == far_away[4]["is_success"].tolist()
        assert there._remote._connection.reconnections == 1
        there.close()
