"""Convert a policy's actions to a world's action space, with a class per kind of conversion.

An adapter also converts what the policy reads: a policy that commands joints receives joints, which
a world that predicts the end effector does not have.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float, Float32
from worldeval.data.action_space import END_EFFECTOR, ActionSpace
from worldeval.data.rotation import read_rotation, write_rotation
from worldeval.data.space_text import with_units
from worldeval.errors import UserError
from worldeval.policy.adapters.arm import Arm

REACHED = 0.02  # metres and radians; with a larger error, the pose is not this arm's
WHOLE_TURNS = 4 * np.pi  # rad; joints beyond this have other units


@runtime_checkable
class Adapter(Protocol):
    """Convert a policy's actions to a world's. `steps` policy steps make one world frame."""

    policy: ActionSpace
    world: ActionSpace
    steps: int

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
    """Joint control in a world of end-effector poses."""

    def __init__(
        self, policy: ActionSpace, world: ActionSpace, motion: ArmMotion, *, steps: int
    ) -> None:
        if policy.control in END_EFFECTOR or world.control not in END_EFFECTOR:
            raise UserError(f"{with_units(policy)} into {with_units(world)} needs no arm.")
        if len(motion.rest) != policy.joints:
            raise UserError(
                f"The policy commands {with_units(policy)}, but the arm has {len(motion.rest)} "
                "joints."
            )
        _same_gripper(policy, world)
        self.policy, self.world, self.steps, self.motion = policy, world, steps, motion
        self._joints = np.zeros((0, policy.joints))
        self._place, self._turn = np.zeros((0, 3)), Rotation.identity(0)

    def begin(self, episodes: int) -> None:
        """Put every arm at rest until it is observed."""
        self._joints = np.tile(self.motion.rest, (episodes, 1))

    def sense(self, pose: Float32[Array, "b p"]) -> Float32[Array, "b s"]:
        """Compute joints and gripper from the world's end-effector pose and gripper."""
        _fits(self.world, pose)
        arm = self.world.arm
        self._place = pose[:, :3].astype(float)
        self._turn = read_rotation(pose[:, 3:arm], self.world.rotation)
        self._joints = self.motion.joints(self._place, self._turn, self._joints)
        return np.concatenate([self._joints, pose[:, arm : self.world.size]], 1).astype(np.float32)

    def turn(self, chunk: Float32[Array, "b k a"]) -> Float32[Array, "b f w"]:
        """Compute the resulting end-effector pose, frame by frame."""
        commands, gripper = chunk[..., : self.policy.joints], chunk[..., self.policy.joints :]
        _radians(self.policy, commands)
        joints, place, facing, out = self._joints, self._place, self._turn, []
        for last in range(self.steps, chunk.shape[1] + 1, self.steps):
            joints, next_place, next_turn = self.motion.move(
                joints, commands[:, last - self.steps : last].astype(float)
            )
            there, turned = next_place, next_turn
            if self.world.control == "ee-delta":
                there, turned = next_place - place, next_turn * facing.inv()
            rotation = write_rotation(turned, self.world.rotation)
            out.append(np.concatenate([there, rotation, gripper[:, last - 1]], axis=1))
            place, facing = next_place, next_turn
        return np.stack(out, axis=1).astype(np.float32)


class PlainAdapter:
    """Convert between spaces of the same kind: rotation formats, relative or absolute, rates."""

    def __init__(self, policy: ActionSpace, world: ActionSpace, *, steps: int, fps: float) -> None:
        """`fps` refers to the policy's steps."""
        if (policy.control in END_EFFECTOR) != (world.control in END_EFFECTOR):
            raise UserError(
                f"The policy commands {with_units(policy)}, the world takes {with_units(world)}. "
                "Converting them needs a robot's kinematics: make an adapter (worldeval adapter "
                "urdf or worldeval adapter train), and use POLICY?adapter=FOLDER."
            )
        _same_gripper(policy, world)
        if policy.control not in END_EFFECTOR and policy.joints != world.joints:
            raise UserError(f"{with_units(policy)} cannot be converted to {with_units(world)}.")
        self.policy, self.world, self.steps, self._fps = policy, world, steps, fps
        self._pose = np.zeros((0, world.size), np.float32)

    def begin(self, episodes: int) -> None:
        """Do nothing: no state is kept."""

    def sense(self, pose: Float32[Array, "b p"]) -> Float32[Array, "b s"]:
        """Return the pose in the policy's rotation format."""
        here = self._where(self.world, pose)
        self._pose = here
        return self._still(self.world).into(self._still(self.policy), here)

    def turn(self, chunk: Float32[Array, "b k a"]) -> Float32[Array, "b f w"]:
        """Execute each step from the result of the previous one; a frame takes the last."""
        _radians(self.policy, chunk[..., : self.policy.arm])
        still = self._still(self.policy)
        pose = here = self._still(self.world).into(still, self._pose)
        out = []
        for step in range(chunk.shape[1] // self.steps * self.steps):
            now = self.policy.into(still, chunk[:, step], pose=pose, fps=self._fps)
            pose = now
            if (step + 1) % self.steps == 0:
                fps = self._fps / self.steps
                out.append(still.into(self.world, now, pose=here, fps=fps))
                here = now
        return np.stack(out, axis=1)

    @staticmethod
    def _still(space: ActionSpace) -> ActionSpace:
        """The absolute space of the same kind, whose numbers are positions, not motions."""
        control = "ee-absolute" if space.control in END_EFFECTOR else "joint-position"
        return ActionSpace(
            control=control, rotation=space.rotation, joints=space.joints, gripper=space.gripper
        )

    @staticmethod
    def _where(space: ActionSpace, pose: Float32[Array, "b p"]) -> Float32[Array, "b s"]:
        _fits(space, pose)
        return pose[:, : space.size]


def _same_gripper(policy: ActionSpace, world: ActionSpace) -> None:
    if policy.gripper != world.gripper:
        raise UserError(
            f"The policy commands {with_units(policy)}, the world takes {with_units(world)}: their "
            "grippers differ."
        )


def _fits(space: ActionSpace, pose: Float32[Array, "b p"]) -> None:
    if pose.shape[1] < space.size:
        raise UserError(
            f"The world gives {pose.shape[1]} values of proprioception, but the adapter needs its "
            f"pose as {with_units(space)}."
        )


def _radians(space: ActionSpace, commands: Float[Array, "b k j"]) -> None:
    if space.control != "joint-position":
        return
    largest = float(np.nanmax(np.abs(commands), initial=0.0))
    if WHOLE_TURNS < largest < np.inf:
        raise UserError(
            f"The policy commands joint positions up to {largest:.0f}, but {with_units(space)} is "
            "in radians. If they are degrees, convert them."
        )
