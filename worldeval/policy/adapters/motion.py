"""From a policy's actions to a world's: one class for every pair of controls that can be told.

An adapter also tells the policy what it reads: a policy that commands joints is shown joints, which
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

REACHED = 0.02  # metres and radians: a pose whose joints are not found this well is not the arm's
WHOLE_TURNS = 4 * np.pi  # rad: joints beyond this are in other units


@runtime_checkable
class Adapter(Protocol):
    """Fits a policy's actions to a world's. `steps` of the policy's make one world frame."""

    policy: ActionSpace
    world: ActionSpace
    steps: int

    def begin(self, episodes: int) -> None:
        """Forget the episodes so far."""
        ...

    def sense(self, pose: Float32[Array, "b p"]) -> Float32[Array, "b s"]:
        """What the policy reads of its body where the world shows `pose`."""
        ...

    def turn(self, chunk: Float32[Array, "b k a"]) -> Float32[Array, "b f w"]:
        """A chunk of policy steps as world frames, from the pose sensed last."""
        ...


@runtime_checkable
class ArmMotion(Protocol):
    """What a joint-controlled arm does."""

    @property
    def rest(self) -> Float[Array, " j"]:
        """A usual posture."""
        ...

    def joints(
        self, place: Float[Array, "n 3"], turn: Rotation, near: Float[Array, "n j"]
    ) -> Float[Array, "n j"]:
        """Joints that hold the end effector there, close to the posture `near`."""
        ...

    def move(
        self, joints: Float[Array, "n j"], commands: Float[Array, "n s j"]
    ) -> tuple[Float[Array, "n j"], Float[Array, "n 3"], Rotation]:
        """Joints, position and orientation after the commands of one world frame."""
        ...


class UrdfMotion:
    """An arm that does exactly as it is told: kinematics without the controller's lag."""

    def __init__(self, arm: Arm, *, control: str, fps: float, scale: float = 1.0) -> None:
        """`fps` is of the policy's steps; `scale` is rad/s for one unit of its velocities."""
        self._arm, self._control, self._seconds = arm, control, scale / fps

    @property
    def rest(self) -> Float[Array, " j"]:
        return self._arm.rest

    def joints(
        self, place: Float[Array, "n 3"], turn: Rotation, near: Float[Array, "n j"]
    ) -> Float[Array, "n j"]:
        """By inverse kinematics. Raises UserError for a pose out of the arm's reach."""
        found = np.empty((len(place), len(self.rest)))
        for row, posture in enumerate(near):
            # A second try from rest: from some postures the way leads into a limit.
            tries = [posture, self.rest]
            solved = [self._arm.inverse(place[row], turn[row], each) for each in tries[:1]]
            if solved[0][1] > REACHED:
                solved.append(self._arm.inverse(place[row], turn[row], tries[1]))
            found[row], left = min(solved, key=lambda one: one[1])
            if left > REACHED:
                raise UserError(
                    f"The arm cannot hold its end effector at {np.round(place[row], 3).tolist()} "
                    f"(off by {left:.3f}). Is the adapter's frame the one of the world's poses?"
                )
        return found

    def move(
        self, joints: Float[Array, "n j"], commands: Float[Array, "n s j"]
    ) -> tuple[Float[Array, "n j"], Float[Array, "n 3"], Rotation]:
        """Positions are taken up at once, velocities are summed; both stay within the limits."""
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
                f"The policy commands {with_units(policy)}; the arm has {len(motion.rest)} joints."
            )
        _same_gripper(policy, world)
        self.policy, self.world, self.steps, self.motion = policy, world, steps, motion
        self._joints = np.zeros((0, policy.joints))
        self._place, self._turn = np.zeros((0, 3)), Rotation.identity(0)

    def begin(self, episodes: int) -> None:
        """Every arm at rest, until it is sensed."""
        self._joints = np.tile(self.motion.rest, (episodes, 1))

    def sense(self, pose: Float32[Array, "b p"]) -> Float32[Array, "b s"]:
        """Joints and gripper, where the world shows the end effector's pose and gripper."""
        _fits(self.world, pose)
        arm = self.world.arm
        self._place = pose[:, :3].astype(float)
        self._turn = read_rotation(pose[:, 3:arm], self.world.rotation)
        self._joints = self.motion.joints(self._place, self._turn, self._joints)
        return np.concatenate([self._joints, pose[:, arm : self.world.size]], 1).astype(np.float32)

    def turn(self, chunk: Float32[Array, "b k a"]) -> Float32[Array, "b f w"]:
        """Where the end effector comes to be, frame by frame."""
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
    """Between two spaces of the same kind: other rotations, relative or absolute, other rates."""

    def __init__(self, policy: ActionSpace, world: ActionSpace, *, steps: int, fps: float) -> None:
        """`fps` is of the policy's steps."""
        if (policy.control in END_EFFECTOR) != (world.control in END_EFFECTOR):
            raise UserError(
                f"The policy commands {with_units(policy)}, the world takes {with_units(world)}. "
                "Only a robot's kinematics leads from one to the other: make an adapter (worldeval "
                "adapter urdf or worldeval adapter train), and give POLICY?adapter=FOLDER."
            )
        _same_gripper(policy, world)
        if policy.control not in END_EFFECTOR and policy.joints != world.joints:
            raise UserError(f"{with_units(policy)} cannot become {with_units(world)}.")
        self.policy, self.world, self.steps, self._fps = policy, world, steps, fps
        self._pose = np.zeros((0, world.size), np.float32)

    def begin(self, episodes: int) -> None:
        """Nothing is kept."""

    def sense(self, pose: Float32[Array, "b p"]) -> Float32[Array, "b s"]:
        """The pose in the policy's own form of rotation."""
        here = self._where(self.world, pose)
        self._pose = here
        return self._still(self.world).into(self._still(self.policy), here)

    def turn(self, chunk: Float32[Array, "b k a"]) -> Float32[Array, "b f w"]:
        """Every step carried out from where the one before it led; a frame takes the last."""
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
        """The space of the same kind whose numbers say where, not how far or how fast."""
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
            f"The world shows {pose.shape[1]} numbers of proprioception; the adapter needs its "
            f"pose as {with_units(space)}."
        )


def _radians(space: ActionSpace, commands: Float[Array, "b k j"]) -> None:
    if space.control != "joint-position":
        return
    largest = float(np.nanmax(np.abs(commands), initial=0.0))
    if WHOLE_TURNS < largest < np.inf:
        raise UserError(
            f"The policy commands joint positions up to {largest:.0f}; {with_units(space)} is in "
            "radians. Degrees?"
        )
