"""Subgoals on the way around a wall, which straight moves to the goal run into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.support.dots import SPEC
from tests.support.toy import toy_shards
from tests.world.uwm.tiny import begun, new_world
from worldeval.data.table import read_table
from worldeval.errors import UserError
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.record import Observation
from worldeval.rollout.goal_planner import Goal, GoalPlanner, RecordedGoals, load, nearest
from worldeval.world.uwm.modes import draw
from worldeval.world.walk import Walk

# A U around a wall: up on the left, across, down on the right. Positions are shown as two colours.
CORNERS = np.array([[0.2, 0.1], [0.2, 0.9], [0.8, 0.9], [0.8, 0.1]])
LENGTH, STRIDE = 2.2, 0.1  # of the way; of a frame
TOY = replace(SPEC, views=("top",), size=(1, 1), latent=(2, 1, 1), action_dim=2, pose_dim=2)


def on_way(distance: np.ndarray) -> np.ndarray:
    """Positions at distances along the way."""
    ends = np.array([0, 0.8, 1.4, 2.2])
    return np.stack([np.interp(distance, ends, CORNERS[:, axis]) for axis in (0, 1)], -1)


def along(position: np.ndarray) -> np.ndarray:
    """The distance along the way of the nearest place on it."""
    grid = np.linspace(0, LENGTH, 221)
    apart = np.square(position[:, None] - on_way(grid)).sum(-1)
    return grid[apart.argmin(1)]


def shown(position: np.ndarray) -> dict[str, np.ndarray]:
    out = np.zeros((len(position), 1, 1, 3), np.uint8)
    out[:, 0, 0, :2] = np.round(position * 250)
    return {"top": out}


def moved(position: np.ndarray, action: np.ndarray) -> np.ndarray:
    """A step that the wall between .3 and .7, below .8, may stop."""
    after = np.clip(position + np.clip(action, -STRIDE, STRIDE), 0, 1)
    side, low = (after[:, 0] > 0.3) & (after[:, 0] < 0.7), after[:, 1] < 0.8
    return np.where((side & low)[:, None], position, after)


class Dreams:
    """Frames as play went: along the way, in either direction. Read backwards they look the same,
    so it also imagines pasts."""

    spec = TOY

    def encode(self, frames: Mapping[str, np.ndarray], tasks: Sequence[str]) -> torch.Tensor:
        return torch.from_numpy(frames["top"][:, 0, 0, :2].astype(np.float32) / 250)[
            :, None, :, None, None
        ]

    def render(self, latents: np.ndarray, tasks: Sequence[str]) -> dict[str, np.ndarray]:
        return shown(latents.reshape(len(latents), 2))

    def begin_latents(
        self, latents: torch.Tensor, pose: np.ndarray, tasks: Sequence[str], seeds: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        turn = [1 if np.random.default_rng(seed).random() < 0.5 else -1 for seed in seeds]
        return along(latents.numpy().reshape(-1, 2)), np.array(turn)

    def dream(self, state: tuple[np.ndarray, np.ndarray], *, frames: int) -> SimpleNamespace:
        at, turn = state
        ahead = at[:, None] + STRIDE * turn[:, None] * np.arange(1, frames + 1)
        ahead = np.clip(ahead, 0, LENGTH)
        places = on_way(ahead).astype(np.float32)
        latents = places[:, :, None, :, None, None]
        return SimpleNamespace(walk=Walk(state=(ahead[:, -1], turn), latents=latents, pose=places))


class Straight:
    """Goes straight to its goal: right where the goal is near, as play with near goals teaches."""

    spec = PolicySpec(
        name="straight/step-1", lineage="straight", step=1, views=("top",), action_dim=2, chunk=2
    )

    def __init__(self) -> None:
        self.goal = np.zeros((0, 2))

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        self.goal = np.zeros((len(tasks), 2))

    def aim(self, frames: Mapping[str, np.ndarray]) -> None:
        self.goal = frames["top"][:, 0, 0, :2].astype(float) / 250

    def act(self, observation: Observation) -> np.ndarray:
        here = observation.frames["top"][:, 0, 0, :2].astype(float) / 250
        step = np.clip(self.goal - here, -STRIDE, STRIDE)
        return np.repeat(step[:, None], 2, 1).astype(np.float32)


@dataclass
class AtTheEnd:
    """Every episode's goal is the end of the way."""

    def choose(self, observation: Observation) -> Goal:
        end = np.repeat(CORNERS[3:], len(observation), 0)
        return Goal(frames=shown(end), pose=end.astype(np.float32))


def reached(policy, frames: int = 40) -> np.ndarray:
    """How far from the end of the way four episodes are at their end."""
    position = on_way(np.array([0.0, 0.1, 0.3, 0.5]))
    policy.reset(["left"] * 4, list(range(4)))
    for _ in range(frames):
        seen = Observation(
            frames=shown(position), pose=position.astype(np.float32), tasks=("left",) * 4
        )
        position = moved(position, policy.act(seen)[:, 0])
    return np.linalg.norm(position - CORNERS[3], axis=1)


def planner(way: str, *, near: int = 2, **more) -> GoalPlanner:
    made = {"way": way, "near": near, "frames": 24, **more}
    return GoalPlanner(Straight(), Dreams(), AtTheEnd(), **made)


def alone() -> Straight:
    class Aimed(Straight):
        def act(self, observation: Observation) -> np.ndarray:
            self.aim(dict(AtTheEnd().choose(observation).frames))
            return super().act(observation)

    return Aimed()


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_subgoals_lead_around_the_wall_where_the_policy_alone_is_stopped(way: str) -> None:
    made = planner(way)
    assert isinstance(made, Policy)
    assert made.spec.name == f"straight/step-1-{way}" and made.spec.lineage == f"straight-{way}"
    assert reached(made).max() < 0.1
    assert reached(alone()).min() > 0.4


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_a_subgoal_is_near_and_further_along(way: str) -> None:
    made, position = planner(way, near=3), on_way(np.array([0.3, 1.0]))
    made.reset(["left"] * 2, [0, 1])
    made.act(
        Observation(frames=shown(position), pose=position.astype(np.float32), tasks=("l", "l"))
    )
    went = along(made.policy.goal) - along(position)  # type: ignore[attr-defined]
    assert np.allclose(went, 3 * STRIDE, atol=0.03)


def test_without_many_candidates_it_may_be_led_away() -> None:
    """One dream goes in a random direction, so that some episodes are at times led back."""
    assert reached(planner("forward", candidates=1), frames=20).mean() > 1.3 * (
        reached(planner("forward", candidates=8), frames=20).mean()
    )


def test_the_nearest_dream_is_told_by_hand() -> None:
    dreams = np.zeros((1, 2, 3, 1, 1, 1, 1), np.float32)
    dreams[0, :, :, 0, 0, 0, 0] = [[0, 1, 2], [5, 4, 9]]
    goal = np.full((1, 1, 1, 1, 1), 3.9, np.float32)
    best, place = nearest(dreams, goal)
    assert (best.tolist(), place.tolist()) == ([1], [1])


def test_goals_are_the_ends_of_successes_that_began_alike(tmp_path: Path) -> None:
    recorded = read_table(toy_shards(tmp_path / "data", episodes=10))
    goals = RecordedGoals(recorded, ("side", "top"))
    table = recorded.episodes
    row = table[(table["task"] == "left") & (table["success"] == 1)].iloc[0]
    first, last = int(row["begin"]), int(row["begin"] + row["length"] - 1)
    seen = Observation(
        frames={view: recorded.frames(view, np.array([first])) for view in ("side", "top")},
        pose=recorded.pose[[first]],
        tasks=("left",),
    )
    found = goals.choose(seen)
    assert np.array_equal(found.frames["side"], recorded.frames("side", np.array([last])))
    assert np.allclose(found.pose[0], recorded.pose[last])
    with pytest.raises(UserError, match=r"No recorded success of 'up' .*left, right"):
        goals.choose(replace(seen, tasks=("up",)))


def test_what_cannot_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="near is 0; it must be at least 1"):
        planner("forward", near=0)
    with pytest.raises(UserError, match="way is 'up'"):
        planner("up")
    from tests.support.imagined_run import fresh_world

    with pytest.raises(UserError, match="takes no goals"):
        load("zero?action_dim=8", str(fresh_world(tmp_path / "world")), "nowhere")


def test_a_dream_is_a_video_and_the_actions_that_explain_it() -> None:
    from tests.support.dots import walks

    data, world = walks(episodes=3), new_world()
    state = begun(world, data, [0, 1])
    dreamt = world.dream(state, frames=3, steps=4)
    video = draw(world.model, state.anchor, state.noise.first(3), mode="video", steps=4)
    assert video.future is not None
    np.testing.assert_array_equal(dreamt.walk.latents[:, -2:], video.future)
    assert dreamt.actions.shape == (2, 3, 4) and dreamt.walk.pose.shape == (2, 3, 4)
    inverse = draw(
        world.model, state.anchor, state.noise.first(3), mode="inverse", steps=4,
        future=video.future,
    )  # fmt: skip
    np.testing.assert_array_equal(dreamt.actions, inverse.actions)
    again = world.dream(begun(world, data, [2, 1]), frames=3, steps=4)
    np.testing.assert_allclose(again.walk.latents[1], dreamt.walk.latents[1], atol=1e-4)
    more = world.dream(dreamt.walk.state, frames=2)
    assert more.walk.latents.shape[1] == 2
