"""The closed loop around a world with known dynamics: the hand goes exactly where it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation, Start
from worldeval.rollout.chunks import ChunkQueue
from worldeval.rollout.loop import imagine, replay_actions
from worldeval.world.protocol import WorldSpec
from worldeval.world.walk import stepped


@dataclass
class CountingPolicy:
    """Answers with 1, 2, 3, ... so that the queue's order shows; counts how often it is asked."""

    chunk: int
    asked: int = 0
    value: float = 0.1

    @property
    def spec(self) -> PolicySpec:
        return PolicySpec(
            name="count/step-1",
            lineage="count",
            step=1,
            views=("side",),
            action_dim=3,
            chunk=self.chunk,
        )

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        self.asked = 0

    def act(self, observation: Observation) -> np.ndarray:
        first = self.asked * 10
        self.asked += 1
        numbers = np.arange(first, first + self.chunk, dtype=np.float32) * self.value / 10
        return np.tile(numbers[None, :, None], (len(observation), 1, 3))


@dataclass
class PerfectWorld:
    """Pose plus action is the next pose; the latent is the pose; the picture shows nothing."""

    rendered: int = 0

    @property
    def spec(self) -> WorldSpec:
        return WorldSpec(
            views=("side",),
            size=(4, 4),
            latent=(1, 1, 3),
            action_dim=3,
            pose_dim=3,
            tasks=("go",),
            fps=10.0,
        )

    def begin(self, frames, pose, tasks, seeds):
        return pose

    def step(self, state, actions):
        return state + actions

    def latents(self, state):
        return state[:, None, None, None, :].astype(np.float32)

    def pose(self, state):
        return state.astype(np.float32)

    def render(self, latents, tasks):
        self.rendered += 1
        return {"side": np.zeros((len(latents), 4, 4, 3), np.uint8)}


def starts(count: int) -> list[Start]:
    picture = {"side": np.zeros((4, 4, 3), np.uint8)}
    return [
        Start(id=f"go-{i}", task="go", seed=i, frames=picture, pose=np.full(3, i, np.float32))
        for i in range(count)
    ]


def test_the_pose_is_the_start_plus_every_action() -> None:
    world, policy = PerfectWorld(), CountingPolicy(chunk=3)
    rollouts = imagine(world, policy, starts(2), horizon=4, replan_every=2, seeds=[0, 1])
    # Chunks 0 1 2 and 10 11 12, two frames of each, a hundredth of that: 0, .01, .10, .11.
    np.testing.assert_allclose(rollouts[1].actions[:, 0], [0, 0.01, 0.10, 0.11], atol=1e-6)
    np.testing.assert_allclose(rollouts[1].pose[-1], 1 + 0.22, atol=1e-5)
    assert rollouts[0].latents is not None and rollouts[0].latents.shape == (5, 1, 1, 1, 3)


def test_a_frame_is_rendered_only_when_the_policy_looks() -> None:
    world, policy = PerfectWorld(), CountingPolicy(chunk=3)
    imagine(world, policy, starts(2), horizon=6, replan_every=3, seeds=[0, 1])
    assert (policy.asked, world.rendered) == (2, 2)


def test_a_world_that_takes_chunks_is_told_what_is_carried_out_of_each() -> None:
    """Horizon 5, replanned every 2 frames: the world is asked for 2, 2 and 1."""

    @dataclass
    class Chunked(PerfectWorld):
        told: tuple[int, ...] = ()

        def walk(self, state, actions):
            self.told += (actions.shape[1],)
            return stepped(self, state, actions)

    chunked, plain = Chunked(), PerfectWorld()
    given: dict[str, Any] = {"horizon": 5, "replan_every": 2, "seeds": [0, 1]}
    one = imagine(chunked, CountingPolicy(chunk=3), starts(2), **given)
    other = imagine(plain, CountingPolicy(chunk=3), starts(2), **given)
    assert chunked.told == (2, 2, 1)
    np.testing.assert_array_equal(one[1].pose, other[1].pose)
    assert one[1].pose.shape == (6, 3) and one[1].actions.shape == (5, 3)


def test_replaying_carries_out_what_was_recorded() -> None:
    actions = np.full((2, 5, 3), 0.5, np.float32)
    rollouts = replay_actions(PerfectWorld(), starts(2), actions, seeds=[0, 1])
    np.testing.assert_allclose(rollouts[0].pose[-1], 2.5)


def test_wild_actions_are_clipped_and_counted() -> None:
    class Wild(CountingPolicy):
        def act(self, observation: Observation) -> np.ndarray:
            chunk = np.zeros((len(observation), 1, 3), np.float32)
            chunk[:, :, 0], chunk[:, :, 1] = np.nan, 7.0
            return chunk

    queue = ChunkQueue(Wild(chunk=1), replan_every=1)
    observation = Observation(frames={}, pose=np.zeros((2, 3), np.float32), tasks=("go", "go"))
    action = queue.next(lambda: observation, 3)
    assert action.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert (queue.clipped, queue.given) == (4, 6)


def test_actions_of_another_size_are_refused() -> None:
    queue = ChunkQueue(CountingPolicy(chunk=1), replan_every=1)
    observation = Observation(frames={}, pose=np.zeros((2, 3), np.float32), tasks=("go", "go"))
    with pytest.raises(UserError, match=r"expected \(episodes, chunk, 7\)"):
        queue.next(lambda: observation, 7)


def test_rollouts_keep_who_and_from_where() -> None:
    rollout = imagine(
        PerfectWorld(), CountingPolicy(chunk=1), starts(1), horizon=1, replan_every=1, seeds=[5]
    )[0]
    assert (rollout.policy, rollout.start, rollout.seed) == ("count/step-1", "go-0", 5)


class Looking(CountingPolicy):
    """Looks at two frames together, and keeps what it was shown."""

    @property
    def spec(self) -> PolicySpec:
        return replace(super().spec, history=2, replan=3)

    def act(self, observation: Observation) -> np.ndarray:
        shown = [float(one.pose[0, 0]) for one in observation.window]
        self.shown = [*getattr(self, "shown", []), shown]
        return super().act(observation)


def test_a_policy_with_a_history_is_shown_every_frame() -> None:
    """Asked at frames 0 and 3 (its authors carry out 3), it sees 0 twice, then 2 and 3."""
    world, policy = PerfectWorld(), Looking(chunk=3)
    rollouts = imagine(world, policy, starts(1), horizon=5, replan_every=1, seeds=[0])
    pose = rollouts[0].pose[:, 0]
    np.testing.assert_allclose(policy.shown, [[pose[0], pose[0]], [pose[2], pose[3]]], atol=1e-6)
    assert world.rendered == 4  # two moments each time it is asked


@pytest.mark.parametrize("spoil", ["pose", "frames", "answer"])
def test_what_a_policy_writes_into_is_its_own(spoil: str) -> None:
    class Careless(CountingPolicy):
        answer = np.zeros((1, 3, 3), np.float32)

        def act(self, observation: Observation) -> np.ndarray:
            if spoil == "pose":
                observation.pose[:] = 1e6
            elif spoil == "frames":
                observation.frames["side"][:] = 255
            else:  # the same array every time, changed after it was given
                self.answer[:] = 0.5 if self.asked else 0.0
                self.asked += 1
                return self.answer
            return np.zeros((1, 3, 3), np.float32)

    world = PerfectWorld()
    rollout = imagine(world, Careless(chunk=3), starts(1), horizon=6, replan_every=3, seeds=[0])[0]
    expected = [0, 0, 0, 0.5, 0.5, 0.5] if spoil == "answer" else [0] * 6
    np.testing.assert_allclose(rollout.actions[:, 0], expected)
    assert abs(rollout.pose).max() < 5


def test_actions_of_one_controller_step_are_stacked() -> None:
    """Three numbers a frame by one number a step: six steps of a chunk make two frames."""

    class Steps(CountingPolicy):
        @property
        def spec(self) -> PolicySpec:
            return replace(super().spec, action_dim=1)

        def act(self, observation: Observation) -> np.ndarray:
            return np.arange(6, dtype=np.float32)[None, :, None] / 10

    rollout = imagine(
        PerfectWorld(), Steps(chunk=6), starts(1), horizon=2, replan_every=2, seeds=[0]
    )[0]
    np.testing.assert_allclose(rollout.actions, [[0, 0.1, 0.2], [0.3, 0.4, 0.5]], atol=1e-6)
