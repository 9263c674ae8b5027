"""The world model that policies act in, on the toy robot."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.toy import SCALE, SIZE, picture
from worldeval.errors import UserError
from worldeval.world.load import load_world, world_hash
from worldeval.world.world import World


def starts(count: int) -> tuple[dict, np.ndarray]:
    rng = np.random.default_rng(0)
    pose = np.append(rng.uniform(-0.3, 0.3, (count, 3)), np.full((count, 1), 0.5), 1)
    side = np.stack([picture(p) for p in pose])
    top = np.stack([picture(p[[1, 0, 2]]) for p in pose])
    return {"side": side, "top": top}, pose.astype(np.float32)


def roll(world: World, count: int, steps: int, **changed) -> tuple[np.ndarray, np.ndarray]:
    frames, pose = starts(count)
    actions = np.random.default_rng(1).uniform(-1, 1, (steps, count, 8)).astype(np.float32)
    actions = changed.get("actions", actions)
    state = world.begin(frames, pose, ["left"] * count, range(count))
    for action in actions:
        state = world.step(state, action)
    return world.latents(state), world.pose(state)


def test_a_batch_is_its_episodes_one_by_one(world: World) -> None:
    frames, pose = starts(3)
    together, _ = roll(world, 3, 4)
    actions = np.random.default_rng(1).uniform(-1, 1, (4, 3, 8)).astype(np.float32)
    for i in range(3):
        one = {view: images[i : i + 1] for view, images in frames.items()}
        state = world.begin(one, pose[i : i + 1], ["left"], [i])
        for action in actions:
            state = world.step(state, action[i : i + 1])
        np.testing.assert_allclose(world.latents(state)[0], together[i], atol=1e-4)


def test_the_same_actions_give_the_same_world(world: World) -> None:
    first, second = roll(world, 2, 5), roll(world, 2, 5)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_the_hand_moves_where_it_is_told(world: World) -> None:
    right = np.zeros((4, 2, 8), np.float32)
    right[..., [0, 4]] = 1.0
    _, pose = starts(2)
    _, moved = roll(world, 2, 4, actions=right)
    wanted = pose[:, 0] + 4 * 2 * SCALE
    np.testing.assert_allclose(moved[:, 0], wanted, atol=0.2)
    _, back = roll(world, 2, 4, actions=-right)
    assert (moved[:, 0] - back[:, 0] > 0.4).all()


def test_frames_come_back_as_pictures(world: World) -> None:
    frames, pose = starts(2)
    state = world.begin(frames, pose, ["left", "right"], [0, 1])
    shown = world.render(world.latents(state), ["left", "right"])
    assert set(shown) == {"side", "top"}
    assert shown["side"].shape == (2, SIZE, SIZE, 3)
    true = frames["side"].astype(float)
    error = np.square(shown["side"] - true).mean()
    # What a picture costs whose dot is elsewhere: the decoder must have seen where it is.
    empty = np.square(picture(np.array([5.0, 5.0])) - true).mean()
    assert error < empty


def test_an_unknown_task_is_refused_with_the_nearest(world: World) -> None:
    frames, pose = starts(1)
    with pytest.raises(UserError, match="Did you mean 'right'"):
        world.begin(frames, pose, ["rigt"], [0])


def test_a_missing_view_is_refused(world: World) -> None:
    frames, pose = starts(1)
    with pytest.raises(UserError, match="needs view 'top'"):
        world.begin({"side": frames["side"]}, pose, ["left"], [0])


def test_what_is_stored_is_what_was_trained(world: World, toy_folder: Path) -> None:
    again = load_world(toy_folder / "world")
    np.testing.assert_array_equal(roll(world, 2, 3)[0], roll(again, 2, 3)[0])
    assert world_hash(toy_folder / "world") == world_hash(toy_folder / "world")


def test_a_folder_without_a_world_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="worldeval train"):
        load_world(tmp_path)
