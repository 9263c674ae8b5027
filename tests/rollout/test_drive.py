"""Steering by hand, in a world that does exactly what it is told."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.record import Start
from worldeval.rollout.drive import REACH, Controls, Drive, Stick
from worldeval.world.protocol import WorldModel, WorldSpec

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
    controls = Controls(action_dim=8, step_dim=4, absolute=False)
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


def test_absolute_actions_carry_on_from_the_pose() -> None:
    controls = Controls(action_dim=7, step_dim=7, absolute=True)
    pose = np.arange(7, dtype=np.float32)
    action = controls.action(Stick(z=-1.0, gripper=1.0), pose)
    np.testing.assert_allclose(action, [0, 1, 2 - REACH, 3, 4, 5, 1.0], atol=1e-6)


def test_actions_that_are_no_directions_are_refused() -> None:
    with pytest.raises(UserError, match="2 values per frame"):
        Controls(action_dim=2, step_dim=2, absolute=False)
