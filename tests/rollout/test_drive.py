"""Steering by hand, in a world that does exactly what it is told."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from worldeval.data.columns import ColumnGroup, ColumnMeanings
from worldeval.errors import UserError
from worldeval.record import Start
from worldeval.rollout.drive import REACH, REACH_SHARE, Drive, Stick, controls_of
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


def test_a_chunk_goes_where_the_stick_points(drive: Drive) -> None:
    drive.go(Stick(x=1.0, gripper=0.5), frames=3)
    assert len(drive) == 4
    np.testing.assert_allclose(drive.pose[:, 0], [0, 2, 4, 6])  # two steps a frame
    np.testing.assert_allclose(drive.pose[-1], [6, 0, 0, 3])
    np.testing.assert_array_equal(drive.frames["top"][:, 0, 0, 0], [0, 2, 4, 6])


def test_undo_takes_back_the_last_chunk_and_no_more(drive: Drive) -> None:
    drive.go(Stick(x=1.0), frames=2)
    drive.go(Stick(y=1.0), frames=3)
    drive.undo()
    assert len(drive) == 3
    drive.go(Stick(z=1.0), frames=1)
    np.testing.assert_allclose(drive.pose[-1, :3], [4, 0, 2])
    for _ in range(5):
        drive.undo()
    assert len(drive) == 1


def test_what_was_driven_can_be_judged(drive: Drive) -> None:
    assert drive.rollout.actions.shape == (0, 8)
    drive.go(Stick(x=1.0), frames=2)
    rollout = drive.rollout
    assert (rollout.actions.shape, rollout.pose.shape) == ((2, 8), (3, 4))
    assert rollout.latents is not None and rollout.latents.shape == (3, 1, 1, 1, 1)
    assert (rollout.task, rollout.start) == ("t", "s")


def spec_of(action_dim: int, pose_dim: int, **more: Any) -> WorldSpec:
    return replace(SPEC, action_dim=action_dim, pose_dim=pose_dim, **more)


def test_absolute_actions_carry_on_from_the_pose() -> None:
    controls = controls_of(spec_of(7, 7), None)
    pose = np.arange(7, dtype=np.float32)
    action = controls.action(Stick(z=-1.0, gripper=1.0), pose)
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


def test_two_arms_are_moved_by_their_first_joints_and_held_elsewhere() -> None:
    """Targets in radians: a step is a share of the recorded range, not two centimetres."""
    spec = spec_of(6, 6, body=two_arms(), action_low=(-2.0,), action_high=(3.0,))
    pose = np.array([0.1, 0.2, 0.5, 0.3, 0.4, 0.6], np.float32)
    action = controls_of(spec, None).action(Stick(x=1.0, z=-1.0, gripper=1.0), pose)
    reach = REACH_SHARE * 5
    np.testing.assert_allclose(action, [0.1 + reach, 0.2, 0.5, 0.3 - reach, 0.4, 0.6], atol=1e-6)


def test_velocities_deflect_to_the_largest_recorded_one() -> None:
    body = two_arms(unit="rad/s", motion="velocity")
    spec = spec_of(6, 6, body=body, action_low=(-2.0,), action_high=(3.0,))
    action = controls_of(spec, None).action(Stick(z=-0.5), np.zeros(6, np.float32))
    np.testing.assert_allclose(action, [0, 0, 0, -1, 0, 0])


def test_targets_whose_present_value_is_unknown_are_refused() -> None:
    body = replace(two_arms(), commands=(CommandedColumn(pose=1, action=0, motion="absolute"),))
    with pytest.raises(UserError, match="cannot be held still"):
        controls_of(spec_of(6, 6, body=body), None)
