"""The world of a recurrent state-space model: its promises, whatever it has learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.dots import SPEC, walks
from tests.world.rssm.tiny import TINY, new_world
from worldeval.errors import UserError
from worldeval.world.protocol import WorldModel
from worldeval.world.rssm.world import RssmState, RssmWorld

DATA = walks(episodes=4)


def begun(world: RssmWorld, episodes: list[int]) -> RssmState:
    rows = DATA.begin[episodes]
    tasks = [SPEC.tasks[DATA.task[each]] for each in episodes]
    return world.begin_latents(DATA.gather(rows), DATA.pose[rows], tasks, seeds=episodes)


def stepped(world: RssmWorld, episodes: list[int], steps: int) -> RssmState:
    state = begun(world, episodes)
    for i in range(steps):
        state = world.step(state, DATA.actions[DATA.begin[episodes] + i])
    return state


def test_it_is_a_world_model() -> None:
    world = new_world()
    assert isinstance(world, WorldModel)
    state = stepped(world, [0, 1, 2], 3)
    assert world.latents(state).shape == (3, 2, 1, 4, 4)
    assert world.pose(state).shape == (3, 4)
    assert world.features(state).shape == (3, world.feature_size)
    assert state.latents.shape[1] == state.poses.shape[1] == 4


def test_it_begins_at_what_was_observed() -> None:
    world = new_world()
    state = begun(world, [0, 1])
    assert np.array_equal(world.latents(state), DATA.gather(DATA.begin[[0, 1]]).numpy())
    assert np.array_equal(world.pose(state), DATA.pose[DATA.begin[[0, 1]]])


def test_no_other_episode_changes_this_one() -> None:
    world = new_world()
    alone, together = stepped(world, [2], 4), stepped(world, [0, 2, 3], 4)
    torch.testing.assert_close(alone.latents[0], together.latents[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone.poses[0], together.poses[1], atol=1e-5, rtol=1e-5)
    assert torch.equal(alone.belief.stoch.argmax(-1)[0], together.belief.stoch.argmax(-1)[1])


def test_a_seed_decides_the_draws() -> None:
    world = new_world()
    rows = DATA.begin[[0, 0, 0]]
    state = world.begin_latents(DATA.gather(rows), DATA.pose[rows], ["left"] * 3, seeds=[5, 5, 6])
    for _ in range(4):
        state = world.step(state, np.zeros((3, 4), np.float32))
    same, other = state.belief.stoch[0] - state.belief.stoch[1], None
    assert same.abs().max() == 0
    other = state.belief.stoch[0] - state.belief.stoch[2]
    assert other.abs().max() > 0


def test_without_sampling_no_seed_matters_from_the_first_frame_on() -> None:
    world = new_world(replace(TINY, sampled=False))
    rows = DATA.begin[[0, 0]]
    first, pose = DATA.gather(rows), DATA.pose[rows]
    state = world.begin_latents(first, pose, ["left"] * 2, seeds=[5, 6])
    deter = world.model.nothing(2)
    posterior = world.model.posterior(
        deter, world.model.read(first, first, torch.from_numpy(pose), state.task)
    )
    assert torch.equal(state.belief.stoch.argmax(-1), posterior.argmax(-1))
    for _ in range(3):
        state = world.step(state, np.zeros((2, 4), np.float32))
    state = world.observe_latents(state, first, pose)
    assert torch.equal(state.belief.stoch[0], state.belief.stoch[1])


def test_thought_and_drawn_steps_are_the_same_steps() -> None:
    world = new_world()
    actions = torch.from_numpy(DATA.actions[DATA.begin[[0, 1]][:, None] + np.arange(3)])
    given = iter(actions.unbind(1))
    thought = world.imagine(lambda features: next(given), begun(world, [0, 1]), 3)
    drawn = stepped(world, [0, 1], 3)
    torch.testing.assert_close(thought.features[:, -1], world.features(drawn))
    torch.testing.assert_close(thought.success[:, -1], world.success(drawn))
    torch.testing.assert_close(thought.poses, drawn.poses[:, 1:])
    torch.testing.assert_close(thought.actions, actions)
    assert thought.features.shape == (2, 4, world.feature_size)
    assert thought.reward.shape == thought.goes_on.shape == (2, 3)


def test_an_actor_can_learn_from_imagined_features() -> None:
    world = new_world()
    actor = torch.nn.Linear(world.feature_size, 4)
    thought = world.imagine(lambda features: actor(features).detach(), begun(world, [0, 1]), 2)
    actor(thought.features[:, :-1]).square().sum().backward()  # inference tensors would refuse
    assert actor.weight.grad is not None


def test_actions_matter() -> None:
    world = new_world()
    state = begun(world, [0, 1])
    still = world.step(state, np.zeros((2, 4), np.float32))
    state = begun(world, [0, 1])  # the same draws again
    moved = world.step(state, np.full((2, 4), 0.5, np.float32))
    assert (still.latents - moved.latents).abs().max() > 1e-4


def test_success_is_not_made_up() -> None:
    world = new_world(judged=False)
    with pytest.raises(UserError, match="trained without success labels"):
        world.success(begun(world, [0]))
    with pytest.raises(UserError, match="success labels"):
        world.imagine(lambda features: torch.zeros(1, 4), begun(world, [0]), 1)
