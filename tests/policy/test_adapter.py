"""Actions from a policy's space to a world's: a planar arm whose answers are known on paper."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from worldeval.data.space_text import read_space
from worldeval.errors import UserError
from worldeval.policy.adapters.adapted import AdaptedPolicy
from worldeval.policy.adapters.arm import Arm
from worldeval.policy.adapters.folder import AdapterCard, load_adapter, save_adapter
from worldeval.policy.adapters.joint_records import (
    JointRecord,
    fitted_scale,
    measure,
    read_records,
    split,
)
from worldeval.policy.adapters.learned_motion import fit_motion, save_motion
from worldeval.policy.adapters.motion import JointAdapter
from worldeval.policy.adapters.plain import PlainAdapter
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

# Two links of 0.3 and 0.2 m that turn about z, and a tool at the end.
PLANAR = """
<robot name="planar">
  <link name="base"><visual><geometry><mesh filename="not/there.stl"/></geometry></visual></link>
  <link name="upper"/><link name="lower"/><link name="tool"/>
  <joint name="shoulder" type="revolute">
    <parent link="base"/><child link="upper"/><axis xyz="0 0 1"/>
    <limit lower="-3" upper="3" effort="1" velocity="1"/>
  </joint>
  <joint name="elbow" type="revolute">
    <parent link="upper"/><child link="lower"/><origin xyz="0.3 0 0"/><axis xyz="0 0 1"/>
    <limit lower="0.1" upper="3" effort="1" velocity="1"/>
  </joint>
  <joint name="flange" type="fixed">
    <parent link="lower"/><child link="tool"/><origin xyz="0.2 0 0"/>
  </joint>
</robot>
"""
QUARTER = np.pi / 2


@dataclass
class Fixed:
    """Always the same chunk; remembers what it was shown."""

    chunk: np.ndarray
    space: str = ""

    @property
    def spec(self) -> PolicySpec:
        return PolicySpec(
            name="fixed",
            lineage="fixed",
            step=0,
            views=(),
            action_dim=self.chunk.shape[1],
            chunk=len(self.chunk),
            space=self.space,
        )

    def reset(self, tasks, seeds) -> None:
        pass

    def act(self, observation: Observation) -> np.ndarray:
        self.shown = observation.pose
        return np.repeat(self.chunk[None], len(observation), axis=0).astype(np.float32)


def seen(*poses: list[float]) -> Observation:
    return Observation(frames={}, pose=np.array(poses, np.float32), tasks=("a",) * len(poses))


def tool(shoulder: float, elbow: float) -> list[float]:
    """Position, roll pitch yaw and an open gripper, on paper."""
    x = 0.3 * np.cos(shoulder) + 0.2 * np.cos(shoulder + elbow)
    y = 0.3 * np.sin(shoulder) + 0.2 * np.sin(shoulder + elbow)
    return [x, y, 0, 0, 0, shoulder + elbow, 1]


def adapter(folder: Path, policy: str, world: str = "ee-absolute(euler)+1", **more):
    robot = folder / "planar.urdf"
    robot.write_text(PLANAR)
    given = {"policy_fps": 10, "world_fps": 5, "frame": "tool", **more}
    card = AdapterCard(kind="urdf", policy=policy, world=world, **given)
    save_adapter(folder / "made", card, urdf=robot)
    return load_adapter(folder / "made")


def test_joint_positions_become_poses(tmp_path: Path) -> None:
    policy = Fixed(np.array([[0, 1, 0], [0, QUARTER, 0.5], [9, 9, 9], [QUARTER, 0.5, 0.7]]))
    adapted = AdaptedPolicy(policy, adapter(tmp_path, "joint-position(2)+1"))
    assert (adapted.spec.chunk, adapted.spec.action_dim) == (2, 7)
    adapted.reset(("a",), (0,))
    chunk = adapted.act(seen(tool(0.2, 0.7)))
    # Two policy steps make a world frame, which takes the last.
    np.testing.assert_allclose(chunk[0, 0], [*tool(0, QUARTER)[:6], 0.5], atol=1e-6)
    np.testing.assert_allclose(chunk[0, 1], [*tool(QUARTER, 0.5)[:6], 0.7], atol=1e-6)
    np.testing.assert_allclose(policy.shown, [[0.2, 0.7, 1]], atol=2e-3)  # joints, not a pose


def test_velocities_are_summed_from_where_the_arm_is(tmp_path: Path) -> None:
    chunk = np.array([[1, 0, 1], [1, 2, 1], [0, -1, 1], [0, -1, 1]])  # rad/s at 10 Hz
    adapted = AdaptedPolicy(Fixed(chunk), adapter(tmp_path, "joint-velocity(2)+1"))
    adapted.reset(("a", "a"), (0, 1))
    out = adapted.act(seen(tool(0.2, 0.7), tool(-1, 1)))
    np.testing.assert_allclose(out[0, 0], tool(0.4, 0.9), atol=5e-3)
    np.testing.assert_allclose(out[0, 1], tool(0.4, 0.7), atol=5e-3)
    np.testing.assert_allclose(out[1, 0], tool(-0.8, 1.2), atol=5e-3)
    scaled = adapter(tmp_path, "joint-velocity(2)+1", velocity_scale=0.5)
    half = AdaptedPolicy(Fixed(chunk), scaled)
    half.reset(("a",), (0,))
    np.testing.assert_allclose(half.act(seen(tool(0.2, 0.7)))[0, 0], tool(0.3, 0.8), atol=5e-3)


def test_joints_stay_within_the_limits_of_the_urdf(tmp_path: Path) -> None:
    down = np.array([[0, -9, 1]] * 4)
    adapted = AdaptedPolicy(Fixed(down), adapter(tmp_path, "joint-velocity(2)+1"))
    adapted.reset(("a",), (0,))
    np.testing.assert_allclose(adapted.act(seen(tool(0.2, 0.7)))[0, 1], tool(0.2, 0.1), atol=5e-3)


def test_a_world_of_changes_gets_changes(tmp_path: Path) -> None:
    made = adapter(tmp_path, "joint-position(2)+1", world="ee-delta(axis-angle)+1")
    adapted = AdaptedPolicy(Fixed(np.array([[0, QUARTER, 0]] * 2 + [[0, 1, 0]] * 2)), made)
    adapted.reset(("a",), (0,))
    here, there, last = tool(0, 0.5), tool(0, QUARTER), tool(0, 1)
    pose = np.array(here, np.float32)  # a turn about z alone is the same in both forms
    chunk = adapted.act(seen(pose.tolist()))
    np.testing.assert_allclose(chunk[0, 0, :6], np.subtract(there, here)[:6], atol=5e-3)
    np.testing.assert_allclose(chunk[0, 1, :6], np.subtract(last, there)[:6], atol=5e-3)


def test_actions_that_are_no_numbers_stay_so_to_be_counted(tmp_path: Path) -> None:
    class Half(Fixed):
        def act(self, observation: Observation) -> np.ndarray:
            chunk = super().act(observation)
            chunk[1, 0, 0] = np.nan
            return chunk

    adapted = AdaptedPolicy(Half(np.ones((2, 3))), adapter(tmp_path, "joint-position(2)+1"))
    adapted.reset(("a", "a"), (0, 1))
    chunk = adapted.act(seen(tool(0.2, 0.7), tool(0.2, 0.7)))
    assert np.isfinite(chunk[0]).all() and np.isnan(chunk[1]).all()


@pytest.mark.parametrize(
    ("policy", "world", "said"),
    [
        (
            "joint-position(7)+1",
            "ee-absolute",
            r"joint-position\(7\)\+1 .*, but the arm has 2 joints",
        ),
        ("joint-position(2)+2", "ee-absolute", r"\(2\)\+2 .* takes ee-absolute.*grippers differ"),
        ("ee-delta(euler)+1", "ee-absolute", "joints to the end effector"),
        ("joint-position(2,kg)+1", "ee-absolute", "is in kg; joint-position is in rad or deg"),
        (
            "left: joint-position(2)+1, right: joint-position(2)+1",
            "ee-absolute",
            "of a robot with one part",
        ),
        ("joint-speed(2)+1", "ee-absolute", "Unknown control 'joint-speed'"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides(
    policy: str, world: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        adapter(tmp_path, policy, world)


def test_a_policy_for_another_space_is_refused(tmp_path: Path) -> None:
    made = adapter(tmp_path, "joint-position(2)+1")
    with pytest.raises(UserError, match=r"gives 8 values per step.*joint-position\(2\)\+1 \(3 v"):
        AdaptedPolicy(Fixed(np.ones((2, 8))), made)
    with pytest.raises(UserError, match=r"commands joint-velocity.* takes joint-position"):
        AdaptedPolicy(Fixed(np.ones((2, 3)), space="joint-velocity(2)+1"), made)
    with pytest.raises(UserError, match=r"1 steps per chunk, but a world frame .* takes 2"):
        AdaptedPolicy(Fixed(np.ones((1, 3))), made)
    degrees = AdaptedPolicy(Fixed(np.full((2, 3), 90.0)), made)
    degrees.reset(("a",), (0,))
    with pytest.raises(UserError, match=r"up to 90, but .* is in radians\. If they are degrees"):
        degrees.act(seen(tool(0.2, 0.7)))
    with pytest.raises(UserError, match="cannot hold its end effector"):
        degrees.act(seen([9, 9, 9, 0, 0, 0, 1]))
    with pytest.raises(UserError, match="4 values of proprioception"):
        degrees.act(seen([0, 0, 0, 1]))


def test_urdf_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no link 'tol'\. Did you mean 'tool'"):
        adapter(tmp_path, "joint-position(2)+1", frame="tol")
    with pytest.raises(UserError, match="no joint 'wrist' moves 'tool'"):
        adapter(tmp_path, "joint-position(2)+1", joints=("shoulder", "wrist"))
    with pytest.raises(ValueError, match="a whole number of policy steps"):
        AdapterCard(policy="", world="", policy_fps=12, world_fps=5)
    (tmp_path / "planar.urdf").write_text("<mujoco/>")
    with pytest.raises(UserError, match="is not a URDF: its root is <mujoco>"):
        Arm(tmp_path / "planar.urdf", frame="tool")


def test_poses_to_changes_without_any_robot() -> None:
    policy, world = read_space("ee-absolute(quaternion)+1"), read_space("ee-delta(euler)+1")
    plain = PlainAdapter(policy, world, steps=2, fps=10)
    turn = Rotation.from_euler("xyz", [0, 0, 0.3]).as_quat()
    chunk = np.array([[9, 9, 9, *turn, 0], [0.5, 0, 0, *turn, 1]], np.float32)
    plain.begin(1)
    sensed = plain.sense(np.array([[0.1, 0, 0, 0, 0, 0.1, 0]], np.float32))
    assert sensed.shape == (1, 8)
    np.testing.assert_allclose(plain.turn(chunk[None])[0, 0], [0.4, 0, 0, 0, 0, 0.2, 1], atol=1e-6)


def test_an_adapter_in_an_address(tmp_path: Path) -> None:
    adapter(tmp_path, "joint-position(2)+1")
    made = tmp_path / "made"
    policy = load_policy(f"zero?action_dim=3&chunk=4&adapter={made}")
    policy.reset(("a",), (0,))
    assert policy.act(seen(tool(0.2, 0.7))).shape == (1, 2, 7)
    with pytest.raises(UserError, match="contains no adapter"):
        load_policy(f"zero?adapter={tmp_path / 'none'}")


def recordings(folder: Path, count: int) -> list[JointRecord]:
    """A planar arm that does half of what its velocity commands say, as .npz files."""
    rng = np.random.default_rng(0)
    for number in range(count):
        commands = np.repeat(rng.uniform(-1, 1, (15, 2)), 4, axis=0)
        joints = [np.array([0.2, 1.0])]
        for command in commands[:-1]:
            joints.append(np.clip(joints[-1] + 0.5 * command / 10, [-3, 0.1], 3))
        pose = np.array([tool(*row)[:6] for row in joints])
        np.savez(folder / f"{number}.npz", joints=joints, commands=commands, pose=pose)
    return read_records(folder, "joint-velocity")


def test_the_scale_of_velocities_is_fitted_and_the_error_then_small(tmp_path: Path) -> None:
    records = recordings(tmp_path, 3)
    kept, held = split(records, share=0.3, rng=np.random.default_rng(1))
    assert (len(kept), len(held)) == (2, 1)
    scale = fitted_scale(kept, steps=2, fps=10)
    assert scale == pytest.approx(0.5, abs=0.02)  # a limit is met now and then
    made = adapter(tmp_path, "joint-velocity(2)+1", velocity_scale=scale)
    assert isinstance(made, JointAdapter)
    error = measure(made.motion, held, steps=2)
    assert error.position_mm < 3 < error.still_position_mm
    assert error.rotation_deg < 1 < error.still_rotation_deg


def test_a_learned_adapter_is_better_than_standing_still_on_episodes_it_never_saw(
    tmp_path: Path,
) -> None:
    kept, held = split(recordings(tmp_path, 8), share=0.25, rng=np.random.default_rng(1))
    motion = fit_motion(kept, steps=2, generator=torch.Generator().manual_seed(0), iterations=300)
    error = measure(motion, held, steps=2)
    assert error.episodes == 2
    assert error.position_mm < error.still_position_mm / 2
    assert error.rotation_deg < error.still_rotation_deg / 2
    card = AdapterCard(
        kind="learned",
        policy="joint-velocity(2)+1",
        world="ee-absolute(euler)+1",
        policy_fps=10,
        world_fps=5,
    )
    save_motion(tmp_path / "made", motion)
    save_adapter(tmp_path / "made", card)
    adapted = AdaptedPolicy(Fixed(np.array([[1, 0, 1]] * 2)), load_adapter(tmp_path / "made"))
    adapted.reset(("a",), (0,))
    np.testing.assert_allclose(adapted.act(seen(tool(0.2, 1.0)))[0, 0], tool(0.3, 1.0), atol=0.03)


def test_recordings_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no joint recordings"):
        read_records(tmp_path, "joint-velocity")
    np.savez(tmp_path / "x.npz", joints=np.ones((3, 2)), commands=np.ones((2, 2)), pose=np.ones(6))
    with pytest.raises(UserError, match=r"joints \(3, 2\), commands \(2, 2\)"):
        read_records(tmp_path, "joint-velocity")
