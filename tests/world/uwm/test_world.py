"""The two-timestep transformer as a world: a frame at a time, a chunk at a reach."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.dots import LATENT, SPEC, walks
from tests.world.uwm.tiny import TINY, begun, new_world
from worldeval.world.protocol import WorldModel
from worldeval.world.uwm.modes import draw
from worldeval.world.uwm.world import UwmState, UwmWorld
from worldeval.world.walk import walk

DATA = walks(episodes=4)


def stepped(world: UwmWorld, episodes: list[int], steps: int) -> UwmState:
    state = begun(world, DATA, episodes)
    for i in range(steps):
        state = world.step(state, DATA.actions[DATA.begin[episodes] + i])
    return state


def test_it_is_a_world_model() -> None:
    world = new_world()
    assert isinstance(world, WorldModel)
    state = stepped(world, [0, 1, 2], 4)
    assert world.latents(state).shape == (3, *LATENT)
    assert world.pose(state).shape == (3, 4)
    assert state.latents.shape[1] == state.poses.shape[1] == 5


def test_it_begins_at_what_was_observed() -> None:
    world = new_world()
    state = begun(world, DATA, [0, 1])
    assert np.array_equal(world.latents(state), DATA.gather(DATA.begin[[0, 1]]).numpy())


def test_no_other_episode_changes_this_one() -> None:
    world = new_world()
    alone, together = stepped(world, [2], 5), stepped(world, [0, 2, 3], 5)
    torch.testing.assert_close(alone.latents[0], together.latents[1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone.poses[0], together.poses[1], atol=1e-4, rtol=1e-4)


def test_frames_of_a_chunk_all_depart_from_its_anchor() -> None:
    world = new_world()
    state = stepped(world, [0, 1], 2)
    start = begun(world, DATA, [0, 1])
    rows = DATA.begin[[0, 1]][:, None] + np.arange(2)
    direct = draw(
        world.model,
        start.anchor,
        start.noise.first(2),
        mode="forward",
        steps=TINY.steps,
        actions=torch.from_numpy(DATA.actions[rows]),
    )
    assert direct.future is not None
    torch.testing.assert_close(state.latents[:, -1], direct.future[:, -1])
    torch.testing.assert_close(state.anchor.latent, start.anchor.latent)
    assert state.since.shape[1] == 2


def test_after_a_chunk_the_newest_frame_is_the_anchor() -> None:
    world = new_world()
    state = stepped(world, [0, 1], TINY.chunk)
    assert state.since.shape[1] == 0
    assert torch.equal(state.anchor.latent, state.latents[:, -1])
    assert torch.equal(state.anchor.previous, state.latents[:, -2])
    assert torch.equal(state.anchor.pose, state.poses[:, -1])
    often = stepped(new_world(replace(TINY, anchor=1)), [0, 1], 2)
    assert torch.equal(often.anchor.latent, often.latents[:, -1])


def test_actions_matter() -> None:
    world = new_world()
    still = world.step(begun(world, DATA, [0]), np.zeros((1, 4), np.float32))
    moved = world.step(begun(world, DATA, [0]), np.full((1, 4), 0.8, np.float32))
    assert (still.latents - moved.latents).abs().max() > 1e-4


def test_inferred_actions_read_frames_and_what_was_done_before() -> None:
    world = new_world()
    rows = DATA.begin[[0, 1]][:, None] + np.arange(4)
    latents = DATA.gather(rows.ravel()).numpy().reshape(2, 4, *LATENT)
    poses, actions = DATA.pose[rows], DATA.actions[rows[:, :-1]]
    tasks = [SPEC.tasks[which] for which in DATA.task[:2]]
    found = world.infer(latents, poses, actions, tasks, seed=0)
    assert found.shape == actions.shape
    later = actions.copy()
    later[:, 1] += 0.5
    again = world.infer(latents, poses, later, tasks, seed=0)
    assert np.array_equal(found[:, :2], again[:, :2])  # never from what is to be inferred
    assert np.abs(found[:, 2] - again[:, 2]).max() > 1e-6  # but the command is known
    seen = latents.copy()
    seen[:, 2] += 1
    again = world.infer(seen, poses, actions, tasks, seed=0)
    assert np.abs(found[:, 1:] - again[:, 1:]).max(axis=(0, 2)).min() > 1e-6
    assert np.array_equal(found[:, 0], again[:, 0])
    alone = world.infer(latents[:1], poses[:1], actions[:1], tasks[:1], seed=0)
    np.testing.assert_allclose(alone[0], found[0], atol=1e-5)


def test_proposals_repeat_by_seed() -> None:
    world = new_world()
    one, two = (world.propose(begun(world, DATA, [0, 1]), frames=2) for _ in range(2))
    assert one.actions.shape == (2, 2, 4)
    assert np.array_equal(one.actions, two.actions)
    assert np.array_equal(one.walk.latents, two.walk.latents)
    mid_chunk = world.propose(stepped(world, [0, 1], 1), frames=3)
    assert mid_chunk.actions.shape == (2, 3, 4)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_proposal_keeps_the_frames_that_were_drawn_with_its_actions(frames: int) -> None:
    world = new_world()
    state = begun(world, DATA, [0, 1])
    proposed = world.propose(state, frames=frames, steps=4)
    together = draw(world.model, state.anchor, state.noise.first(frames), mode="joint", steps=4)
    assert together.actions is not None and together.future is not None
    np.testing.assert_array_equal(proposed.actions, together.actions)
    last = together.future[:, -min(frames, 2) :]
    np.testing.assert_array_equal(proposed.walk.latents[:, -min(frames, 2) :], last)
    walked = walk(world, state, proposed.actions)
    # Told its actions afterwards, the world imagines other frames than it drew with them...
    assert np.abs(proposed.walk.latents[:, -1] - walked.latents[:, -1]).max() > 1e-3
    # ... save those that lie before the last two, which follow from the actions in both.
    before = slice(0, max(frames - 2, 0))
    np.testing.assert_allclose(
        proposed.walk.latents[:, before], walked.latents[:, before], atol=1e-5
    )
    assert proposed.walk.pose.shape == (2, frames, 4)
    np.testing.assert_allclose(proposed.walk.pose[:, 0], walked.pose[:, 0], atol=1e-5)
    after = proposed.walk.state
    assert after.latents.shape[1] == after.poses.shape[1] == 1 + frames
    np.testing.assert_array_equal(after.anchor.latent, last[:, -1])
