"""The simulator: seeded resets, frame-level steps, and drivers that do what they are called."""

import numpy as np
import pytest

from worldeval.errors import UserError

pytest.importorskip("metaworld", reason="Meta-World is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # the simulator's own advice

from worldeval.envs.metaworld.drivers import DriverRecipe  # noqa: E402
from worldeval.envs.metaworld.env import MetaWorld  # noqa: E402

TASK = "drawer-open-v3"


@pytest.fixture(scope="module")
def env():
    try:
        made = MetaWorld(TASK, size=32)
    except Exception as error:  # MuJoCo raises what its OpenGL library raises
        pytest.skip(f"no headless rendering here: {error}")
    yield made
    made.close()


def test_a_seed_decides_the_episode(env: MetaWorld) -> None:
    first = env.reset(7)
    again = env.reset(7)
    other = env.reset(8)
    np.testing.assert_array_equal(first.frames["side"], again.frames["side"])
    assert (first.frames["top"] != other.frames["top"]).any()


def test_the_cameras_see_something(env: MetaWorld) -> None:
    frame = env.reset(0)
    assert set(frame.frames) == {"side", "top"}
    for image in frame.frames.values():
        assert image.shape == (32, 32, 3)
        assert image.std() > 10
    assert (frame.frames["side"] != frame.frames["top"]).any()


def test_the_start_shows_the_object_where_it_is(env: MetaWorld) -> None:
    import mujoco

    for seed in range(4):
        start = env.reset(seed)
        mujoco.mj_forward(env.env.model, env.env.data)  # pyright: ignore
        computed_anew = env.frame(success=False)
        np.testing.assert_array_equal(start.frames["top"], computed_anew.frames["top"])
        stood_still = env.step(np.zeros(env.action_dim, np.float32))
        assert start.objects is not None and stood_still.objects is not None
        np.testing.assert_allclose(start.objects, stood_still.objects, atol=0.002)


@pytest.mark.parametrize("task", ["window-open-v3", "faucet-open-v3", "lever-pull-v3"])
def test_every_task_starts_with_its_object_in_place(task: str) -> None:
    env = MetaWorld(task, size=32)  # nothing is rendered from this second environment
    env.frame = lambda *, success: env._told({}, success=success)  # pyright: ignore
    for seed in range(4):
        start = env.reset(seed)
        stood_still = env.step(np.zeros(env.action_dim, np.float32), look=False)
        assert start.objects is not None and stood_still.objects is not None
        np.testing.assert_allclose(start.objects, stood_still.objects, atol=0.005)
    env.close()


def test_a_world_frame_is_k_simulator_steps(env: MetaWorld) -> None:
    env.reset(0)
    up = np.tile([0.0, 0.0, 1.0, 0.0], 5).astype(np.float32)
    before = env.raw[:3].copy()
    moved = env.step(up).pose[:3] - before
    assert env.action_dim == 20
    assert moved[2] > 0.01
    assert np.abs(moved[:2]).max() < 0.02


def test_the_expert_succeeds_and_the_displaced_one_fails(env: MetaWorld) -> None:
    from worldeval.envs.metaworld.collect import drive
    from worldeval.envs.metaworld.recipe import CollectRecipe

    expert = DriverRecipe(name="expert", share=0.5)
    astray = DriverRecipe(name="astray", share=0.5, displaced=(0.3, 0.3))
    recipe = CollectRecipe(tasks=(TASK,), drivers=(expert, astray), size=32)
    good = drive(env, expert, recipe, seed=0, number=3)
    bad = drive(env, astray, recipe, seed=0, number=3)
    assert good.episode.success and not bad.episode.success
    assert len(good.episode) >= 1 + 30
    after = len(good.flags) - 1 - int(good.flags.argmax())
    assert after >= 8


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'drawer-open-v3'"):
        MetaWorld("drawer-opne-v3")


def test_shares_must_sum_to_one() -> None:
    from worldeval.envs.metaworld.recipe import CollectRecipe

    with pytest.raises(ValueError, match=r"sum to 0\.5"):
        CollectRecipe(tasks=(TASK,), drivers=(DriverRecipe(name="expert", share=0.5),))
