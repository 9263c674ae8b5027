"""Ctrl-World among the families: trained from a recipe, stored, and acted in."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.toy import picture, toy_recipe, toy_shards
from tests.world.ctrl_world.tiny import TINY
from worldeval.errors import UserError
from worldeval.world.ctrl_world.recipe import CtrlWorldRecipe
from worldeval.world.ctrl_world.world import CtrlWorld
from worldeval.world.load import load_world
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import prepare
from worldeval.world.walk import walk

STEPS = 12


def a_recipe() -> CtrlWorldRecipe:
    """The toy's tokenizer and hand, and a tiny denoiser that any number of frames is asked of."""
    toy = toy_recipe(steps=40)
    return replace(
        TINY,
        change=True,
        any_future=True,
        tokenizer=toy.tokenizer,
        actuation=toy.actuation,
        kinematics=toy.kinematics,
        held_out=toy.held_out,
        trainer=replace(TINY.trainer, steps=STEPS),
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> CtrlWorld:
    folder = tmp_path_factory.mktemp("ctrl-world")

    def quiet(stage: str, steps: int):
        return lambda step, loss: None

    recipe = a_recipe()
    data = toy_shards(folder / "data", episodes=6)
    prepared = prepare(recipe, data, [], folder / "world", seed=0, report=quiet)
    train_world(recipe, prepared, folder / "world", kind="ctrl_world", seed=0, report=quiet)
    stored = load_world(folder / "world")
    assert isinstance(stored, CtrlWorld)
    assert (folder / "world" / "dynamics.safetensors").is_file()
    return stored


def test_it_steps_and_renders_every_view(world: CtrlWorld) -> None:
    state = begin(world, 2)
    for action in actions(2, 3).swapaxes(0, 1):
        state = world.step(state, action)
    assert world.latents(state).shape == (2, 2, *world.spec.latent)
    shown = world.render(world.latents(state), ["left"] * 2)
    assert {view: frames.shape for view, frames in shown.items()} == {
        "side": (2, 16, 16, 3),
        "top": (2, 16, 16, 3),
    }
    assert np.isfinite(world.pose(state)).all()


def test_a_chunk_is_imagined_at_once_and_its_hand_is_that_of_single_steps(world: CtrlWorld) -> None:
    given = actions(2, 2)
    chunk = world.advance(begin(world, 2), given)
    assert chunk.latents.shape[1] == 3
    alone = begin(world, 2)
    alone = world.step(alone, given[:, 0])
    np.testing.assert_allclose(
        chunk.hand.poses[:, 1].numpy(), alone.hand.poses[:, 1].numpy(), atol=1e-6
    )


def test_more_frames_than_it_was_trained_for_are_refused(world: CtrlWorld) -> None:
    with pytest.raises(UserError, match="up to 2"):
        world.advance(begin(world, 1), actions(1, 3))


def test_a_walk_takes_as_many_frames_a_call_as_it_was_trained_for(
    world: CtrlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five frames, two a call: three calls of the network, and the frames of those calls."""
    given, calls = actions(2, 5), []
    by_hand = begin(world, 2)
    for first in (0, 2, 4):
        by_hand = world.advance(by_hand, given[:, first : first + 2])
    imagine = world.denoiser.imagine

    def counted(known, poses, *rest, **more):
        calls.append(poses.shape[1])
        return imagine(known, poses, *rest, **more)

    monkeypatch.setattr(world.denoiser, "imagine", counted)
    walked = walk(world, begin(world, 2), given)
    assert calls == [5, 5, 4]  # two past frames, the newest, and what is new
    assert walked.latents.shape == (2, 5, 2, *world.spec.latent)
    np.testing.assert_array_equal(walked.latents, by_hand.latents[:, 1:].numpy())
    np.testing.assert_array_equal(walked.pose, by_hand.hand.poses[:, 1:].numpy())


def test_a_world_of_whole_chunks_is_asked_for_whole_chunks(
    world: CtrlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One frame of a chunk of two: the first of those imagined for a hand that then rests."""
    whole = replace(world.denoiser.recipe, any_future=False)
    monkeypatch.setattr(world.denoiser, "recipe", whole)
    one = world.step(begin(world, 2), actions(2, 1)[:, 0])
    assert one.latents.shape[1] == one.hand.poses.shape[1] == 2
    monkeypatch.setattr(world.denoiser, "recipe", replace(whole, any_future=True))
    short = world.step(begin(world, 2), actions(2, 1)[:, 0])
    assert not np.allclose(one.latents[:, 1].numpy(), short.latents[:, 1].numpy())


def test_an_episode_is_imagined_alike_alone_and_in_a_batch(world: CtrlWorld) -> None:
    given = actions(2, 2)
    together = world.advance(begin(world, 2), given)
    alone = world.advance(begin(world, 2, only=1), given[1:])
    np.testing.assert_allclose(
        world.latents(together)[1:], world.latents(alone), atol=2e-3, rtol=1e-3
    )


def test_the_past_is_recalled_from_the_start_on(world: CtrlWorld) -> None:
    """recall (2, 1): before there is a past, the start stands for it."""
    assert world._recalled(0).tolist() == [0, 0, 0]
    assert world._recalled(1).tolist() == [0, 0, 1]
    assert world._recalled(7).tolist() == [5, 6, 7]


def begin(world: CtrlWorld, count: int, only: int | None = None):
    rng = np.random.default_rng(0)
    pose = np.append(rng.uniform(-0.3, 0.3, (count, 3)), np.full((count, 1), 0.5), 1)
    side = np.stack([picture(each) for each in pose])
    top = np.stack([picture(each[[1, 0, 2]]) for each in pose])
    rows = slice(None) if only is None else slice(only, only + 1)
    frames = {"side": side[rows], "top": top[rows]}
    seeds = list(range(count))[rows]
    return world.begin(frames, pose[rows].astype(np.float32), ["left"] * len(seeds), seeds)


def actions(count: int, steps: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, steps, 8)).astype(np.float32)
