"""Steering by hand, in a world that does exactly what it is told."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from worldeval.data.columns import ColumnGroup, ColumnMeanings
from worldeval.errors import UserError
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation, Start
from worldeval.rollout.controls import REACH, REACH_SHARE, Stick, controls_of
from worldeval.rollout.drive import EACH, Drive
from worldeval.world.body import Body, CommandedColumn, body_of
from worldeval.world.protocol import WorldModel, WorldSpec
from worldeval.world.recipe import ActuationRecipe

SPEC = WorldSpec(
    views=("top",), size=(2, 2), latent=(1, 1, 1), action_dim=8, pose_dim=4, tasks=("t",), fps=8.0
)


class Obedient:
    """The pose is the sum of all commands; the picture is as bright as x."""

    spec = SPEC

    def begin(
        self, frames: Mapping, pose: np.ndarray, tasks: Sequence[str], seeds: Sequence[int]
    ) -> np.ndarray:
        return pose

    def step(self, state: np.ndarray, actions: np.ndarray) -> np.ndarray:
        return state + actions.reshape(len(actions), -1, 4).sum(1)

    def latents(self, state: np.ndarray) -> np.ndarray:
        return state[:, 0].reshape(-1, 1, 1, 1, 1).astype(np.float32)

    def pose(self, state: np.ndarray) -> np.ndarray:
        return state.astype(np.float32)

    def render(self, latents: np.ndarray, tasks: Sequence[str]) -> dict[str, np.ndarray]:
        grey = latents.reshape(-1, 1, 1, 1).astype(np.uint8)
        return {"top": np.broadcast_to(grey, (len(grey), 2, 2, 3))}


START = Start(
    id="s",
    task="t",
    seed=0,
    frames={"top": np.zeros((2, 2, 3), np.uint8)},
    pose=np.zeros(4, np.float32),
)


@pytest.fixture
def drive() -> Drive:
    controls = controls_of(SPEC, ActuationRecipe(scale=0.01, step_dim=4))
    return Drive(Obedient(), START, controls, seed=0)


def test_the_toy_is_a_world() -> None:
    assert isinstance(Obedient(), WorldModel)


def test_frames_go_where_the_stick_points(drive: Drive) -> None:
    for _ in range(3):
        drive.steer(Stick(push=(1.0,), gripper=0.5))
    assert len(drive) == 4
    np.testing.assert_allclose(drive.pose[:, 0], [0, 2, 4, 6])  # two steps a frame
    np.testing.assert_allclose(drive.pose[-1], [6, 0, 0, 3])
    np.testing.assert_array_equal(drive.frames["top"][:, 0, 0, 0], [0, 2, 4, 6])
    assert drive.newest["top"][0, 0, 0] == 6
    assert drive.image(1)["top"][0, 0, 0] == 2


@pytest.mark.parametrize("frame", [0, 1, EACH - 1, EACH, EACH + 1, 2 * EACH + 2])
def test_an_earlier_frame_is_returned_to_and_left_another_way(drive: Drive, frame: int) -> None:
    for _ in range(2 * EACH + 2):
        drive.steer(Stick(push=(1.0,)))
    drive.back_to(frame)
    assert (len(drive), len(drive.trust)) == (frame + 1, frame + 1)
    assert drive.newest["top"][0, 0, 0] == 2 * frame
    drive.steer(Stick(push=(0.0, 1.0)))
    np.testing.assert_allclose(drive.pose[-1, :2], [2 * frame, 2])
    with pytest.raises(UserError, match="no frame"):
        drive.back_to(len(drive))


def test_a_policy_takes_over_and_is_relieved(drive: Drive) -> None:
    policy = Pushing()
    drive.steer(Stick(push=(1.0,)))
    for _ in range(3):
        drive.act(policy, replan_every=2)
    assert policy.asked == [2.0, 6.0]  # where it took over, and two frames later
    drive.steer(Stick(push=(-1.0,)))
    drive.act(policy, replan_every=2)
    assert policy.asked[2:] == [6.0]
    assert policy.resets == 2
    assert drive.driver == "by hand>pushing>by hand>pushing"
    np.testing.assert_allclose(drive.pose[:, 0], [0, 2, 4, 6, 8, 6, 8])


class Pushing:
    """Pushes along x, and remembers what it saw."""

    spec = PolicySpec(name="pushing", lineage="p", step=0, views=("top",), action_dim=8, chunk=4)

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.resets = 0

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        self.resets += 1

    def act(self, observation: Observation) -> np.ndarray:
        self.asked.append(float(observation.pose[0, 0]))
        return np.tile(np.array([1, 0, 0, 0], np.float32), (1, 4, 2))


def test_trust_is_the_starts_error_over_that_of_the_newest_frame() -> None:
    class Rough(Obedient):
        """Encodes with an error that grows with x."""

        def encode(self, frames: Mapping, tasks: Sequence[str]) -> np.ndarray:
            grey = frames["top"][:, 0, 0, 0].astype(np.float32)
            return (grey + 1 + grey / 2).reshape(-1, 1, 1, 1, 1)

    controls = controls_of(SPEC, ActuationRecipe(scale=0.01, step_dim=4))
    drive = Drive(Rough(), START, controls, seed=0)
    for _ in range(2):
        drive.steer(Stick(push=(1.0,)))
    np.testing.assert_allclose(drive.trust, [1, 1 / 2, 1 / 3])


def test_what_was_driven_can_be_judged(drive: Drive) -> None:
    assert drive.rollout.actions.shape == (0, 8)
    for _ in range(2):
        drive.steer(Stick(push=(1.0,)))
    rollout = drive.rollout
    assert (rollout.actions.shape, rollout.pose.shape) == ((2, 8), (3, 4))
    assert rollout.latents is not None and rollout.latents.shape == (3, 1, 1, 1, 1)
    assert (rollout.task, rollout.start, rollout.policy) == ("t", "s", "by hand")


def spec_of(action_dim: int, pose_dim: int, **more: Any) -> WorldSpec:
    return replace(SPEC, action_dim=action_dim, pose_dim=pose_dim, **more)


def test_absolute_actions_carry_on_from_the_pose() -> None:
    controls = controls_of(spec_of(7, 7), None)
    pose = np.arange(7, dtype=np.float32)
    action = controls.action(Stick(push=(0.0, 0.0, -1.0), gripper=1.0), pose)
    np.testing.assert_allclose(action, [0, 1, 2 - REACH, 3, 4, 5, 1.0], atol=1e-6)


def test_actions_that_are_no_directions_are_refused() -> None:
    with pytest.raises(UserError, match="2 values per frame"):
        controls_of(spec_of(2, 2), None)
    with pytest.raises(UserError, match="not known which of them move the robot"):
        controls_of(spec_of(2, 2, body=Body(place=(0, 1), unit="")), None)


def two_arms(**right: Any) -> Body:
    """Two joints and a gripper on each side, in radians."""

    def arm(side: str, **more: Any) -> tuple[ColumnGroup, ...]:
        joints = ColumnGroup(names=(f"{side}1", f"{side}2"), means="joint", arm=side, **more)
        return joints, ColumnGroup(names=(f"{side}g",), means="gripper", arm=side)

    left = arm("left", unit="rad")
    meaning = ColumnMeanings(
        action=(*left, *arm("right", **{"unit": "rad", **right})),
        pose=(*left, *arm("right", unit="rad")),
    )
    return body_of(meaning, ActuationRecipe(), action_dim=6, pose_dim=6)


def test_two_arms_are_moved_by_their_joints_and_held_elsewhere() -> None:
    """Targets in radians: a step is a share of the recorded range, not two centimetres."""
    spec = spec_of(6, 6, body=two_arms(), action_low=(-2.0,), action_high=(3.0,))
    pose = np.array([0.1, 0.2, 0.5, 0.3, 0.4, 0.6], np.float32)
    action = controls_of(spec, None).action(Stick(push=(1.0, 0.0, -1.0), gripper=1.0), pose)
    reach = REACH_SHARE * 5
    np.testing.assert_allclose(action, [0.1 + reach, 0.2, 0.5, 0.3 - reach, 0.4, 0.6], atol=1e-6)


def test_velocities_deflect_to_the_largest_recorded_one() -> None:
    body = two_arms(unit="rad/s", motion="velocity")
    spec = spec_of(6, 6, body=body, action_low=(-2.0,), action_high=(3.0,))
    action = controls_of(spec, None).action(Stick(push=(0.0, 0.0, -0.5)), np.zeros(6, np.float32))
    np.testing.assert_allclose(action, [0, 0, 0, -1, 0, 0])


def test_targets_whose_present_value_is_unknown_are_refused() -> None:
    body = replace(two_arms(), commands=(CommandedColumn(pose=1, action=0, motion="absolute"),))
    with pytest.raises(UserError, match="cannot be held still"):
        controls_of(spec_of(6, 6, body=body), None)


def test_directions_are_named_after_the_columns_of_the_data() -> None:
    spec = spec_of(6, 6, body=two_arms(), action_low=(-2.0,), action_high=(3.0,))
    controls = controls_of(spec, None)
    assert controls.names == ("left1", "left2", "right1", "right2")
    assert not controls.grips
    hand = controls_of(SPEC, ActuationRecipe(scale=0.01, step_dim=4))
    assert (hand.names, hand.grips) == (("x", "y", "z"), True)
