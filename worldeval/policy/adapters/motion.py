"""Convert a policy's actions to a world's: the interface, and the joints of an arm by its motion.

An adapter also converts what the policy reads: a policy that commands joints receives joints, which
a world that predicts the end effector does not have. plain.py needs no robot's kinematics.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float, Float32
from worldeval.data.action_space import ActionSpace
from worldeval.data.part import SI, UNKNOWN, Part
from worldeval.data.part_conversion import convert
from worldeval.data.space_text import part_with_units, with_units
from worldeval.errors import UserError
from worldeval.policy.adapters.arm import Arm

REACHED = 0.02  # metres and radians; with a larger error, the pose is not this arm's
WHOLE_TURNS = 4 * np.pi  # rad; joints beyond this have other units
REACHING = Part(control="ee-absolute", rotation="quaternion")


@runtime_checkable
class Adapter(Protocol):
    """Convert a policy's actions to a world's. `steps` policy steps make one world frame; a
    fraction of a step, if one lasts several frames."""

    policy: ActionSpace
    world: ActionSpace

    @property
    def steps(self) -> int | Fraction: ...

    @property
    def width(self) -> int:
        """Numbers in the action of a world frame."""
        return self.world.size

    def begin(self, episodes: int) -> None:
        """Forget all episodes."""
        ...

    def sense(self, pose: Float32[Array, "b p"]) -> Float32[Array, "b s"]:
        """Return the policy's proprioception for the world's `pose`."""
        ...

    def turn(self, chunk: Float32[Array, "b k a"]) -> Float32[Array, "b f w"]:
        """Convert a chunk of policy steps to world frames, from the last observed pose."""
        ...


@runtime_checkable
class ArmMotion(Protocol):
    """The motion of a joint-controlled arm."""

    @property
    def rest(self) -> Float[Array, " j"]:
        """A typical posture."""
        ...

    def joints(
        self, place: Float[Array, "n 3"], turn: Rotation, near: Float[Array, "n j"]
    ) -> Float[Array, "n j"]:
        """Find joints that hold the end effector there, close to the posture `near`."""
        ...

    def move(
        self, joints: Float[Array, "n j"], commands: Float[Array, "n s j"]
    ) -> tuple[Float[Array, "n j"], Float[Array, "n 3"], Rotation]:
        """Return joints, position and orientation after the commands of one world frame."""
        ...


class UrdfMotion:
    """An arm that follows its commands exactly: kinematics without the controller's lag."""

    def __init__(self, arm: Arm, *, control: str, fps: float, scale: float = 1.0) -> None:
        """`fps` refers to the policy's steps; `scale` is rad/s per unit of its velocities."""
        self._arm, self._control, self._seconds = arm, control, scale / fps

    @property
    def rest(self) -> Float[Array, " j"]:
        return self._arm.rest

    def joints(
        self, place: Float[Array, "n 3"], turn: Rotation, near: Float[Array, "n j"]
    ) -> Float[Array, "n j"]:
        """Solve inverse kinematics. Raises UserError for a pose out of the arm's reach."""
        found = np.empty((len(place), len(self.rest)))
        for row, posture in enumerate(near):
            # Try again from rest, because from some postures the solution runs into a limit.
            tries = [posture, self.rest]
            solved = [self._arm.inverse(place[row], turn[row], each) for each in tries[:1]]
            if solved[0][1] > REACHED:
                solved.append(self._arm.inverse(place[row], turn[row], tries[1]))
            found[row], left = min(solved, key=lambda one: one[1])
            if left > REACHED:
                raise UserError(
                    f"The arm cannot hold its end effector at {np.round(place[row], 3).tolist()} "
                    f"(off by {left:.3f}). Check that the adapter's frame is that of the world's "
                    "poses."
                )
        return found

    def move(
        self, joints: Float[Array, "n j"], commands: Float[Array, "n s j"]
    ) -> tuple[Float[Array, "n j"], Float[Array, "n 3"], Rotation]:
        """Apply positions at once and integrate velocities; both stay within the limits."""
        arm = self._arm
        if self._control == "joint-position":
            joints = np.clip(commands[:, -1], arm.low, arm.high)
        else:
            for command in np.moveaxis(commands, 1, 0):
                joints = np.clip(joints + self._seconds * command, arm.low, arm.high)
        return joints, *arm.forward(joints)


class JointAdapter:
    """Joint control of one arm in a world of end-effector poses."""

    def __init__(
        self, policy: ActionSpace, world: ActionSpace, motion: ArmMotion, *, steps: int
    ) -> None:
        self._own, self._target = arm_parts(policy, world)
        if len(motion.rest) != self._own.columns:
            raise UserError(
                f"The policy commands {with_units(policy)}, but the arm has {len(motion.rest)} "
                "joints."
            )
        if self._own.gripper != self._target.gripper or self._own.ends != self._target.ends:
            raise UserError(
                f"The policy commands {with_units(policy)}, the world takes {with_units(world)}: "
                "their grippers differ."
            )
        self.policy, self.world, self.motion = policy, world, motion
        self._steps = steps
        self._joints = np.zeros((0, self._own.columns))
        self._place, self._turn = np.zeros((0, 3)), Rotation.identity(0)

    @property
    def width(self) -> int:
        """Numbers in the action of a world frame."""
        return self.world.size

    @property
    def steps(self) -> int:
        """Policy steps of a world frame."""
        return self._steps

    def begin(self, episodes: int) -> None:
        """Put every arm at rest until it is observed."""
        self._joints = np.tile(self.motion.rest, (episodes, 1))

    def sense(self, pose: Float32[Array, "b p"]) -> Float32[Array, "b s"]:
        """Compute joints and gripper from the world's end-effector pose and gripper."""
        refuse_narrow(self.world, pose)
        arm, size, still = self._target.columns, self._target.size, self._target.still()
        seen = convert(replace(still, gripper=0), REACHING, pose[:, :arm])
        self._place, self._turn = seen[:, :3], Rotation.from_quat(seen[:, 3:])
        self._joints = self.motion.joints(self._place, self._turn, self._joints)
        own = self._joints / self._radians
        return np.concatenate([own, pose[:, arm:size]], 1).astype(np.float32)

    def turn(self, chunk: Float32[Array, "b k a"]) -> Float32[Array, "b f w"]:
        """Compute the resulting end-effector pose, frame by frame."""
        columns = self._own.columns
        commands, gripper = chunk[..., :columns], chunk[..., columns:]
        refuse_degrees(self._own, commands)
        commands = commands.astype(float) * self._radians
        out_part = replace(self._target, gripper=0)
        joints, place, facing, out = self._joints, self._place, self._turn, []
        for last in range(self.steps, chunk.shape[1] + 1, self.steps):
            joints, there, turned = self.motion.move(joints, commands[:, last - self.steps : last])
            here = np.concatenate([place, facing.as_quat()], axis=1)
            next_pose = np.concatenate([there, turned.as_quat()], axis=1)
            moved = convert(REACHING, out_part, next_pose, pose=here)
            out.append(np.concatenate([moved, gripper[:, last - 1]], axis=1))
            place, facing = there, turned
        return np.stack(out, axis=1).astype(np.float32)

    @property
    def _radians(self) -> float:
        """Radians in one unit of the policy's joints."""
        return SI[self._own.unit]


def arm_parts(policy: ActionSpace, world: ActionSpace) -> tuple[Part, Part]:
    """Return the arm of both spaces; refuse spaces that an arm's kinematics cannot convert."""
    own, target = policy.alone, world.alone
    fits = (
        own is not None
        and target is not None
        and (own.family, own.unit in ("rad", "deg")) == ("joints", True)
        and own.control != "joint-delta"
        and target.control in ("ee-absolute", "ee-delta")
        and target.rotation != "xyz"
        and target.unit != UNKNOWN
    )
    if own is None or target is None or not fits:
        raise UserError(
            f"The policy commands {with_units(policy)}, the world takes {with_units(world)}. An "
            "arm's adapter only converts joints to the end effector, of a robot with one part."
        )
    return own, target


def refuse_narrow(space: ActionSpace, pose: Float32[Array, "b p"]) -> None:
    """Refuse poses with fewer columns than the robot's own."""
    if pose.shape[1] < space.size:
        raise UserError(
            f"The world gives {pose.shape[1]} values of proprioception, but the adapter needs its "
            f"pose as {with_units(space)}."
        )


def refuse_degrees(part: Part, commands: Float[Array, "b k j"]) -> None:
    """Refuse joint positions that cannot be in the unit that the policy states."""
    if part.control != "joint-position" or part.unit != "rad":
        return
    largest = float(np.nanmax(np.abs(commands[..., : part.columns]), initial=0.0))
    if WHOLE_TURNS < largest < np.inf:
        raise UserError(
            f"The policy commands joint positions up to {largest:.0f}, but {part_with_units(part)} "
            "is in radians. If they are degrees, say so in its space, as in joint-position"
            f"({part.columns},deg)+{part.gripper}."
        )
