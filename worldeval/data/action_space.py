"""Action spaces: meaning of an action's numbers, and conversion between spaces."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from worldeval.axes import Array, Float, Float32
from worldeval.data.names import numbered
from worldeval.data.rotation import (
    NAMES,
    SIZES,
    RotationForm,
    read_rotation,
    unwrapped,
    write_rotation,
)
from worldeval.errors import UserError

Control = Literal["ee-absolute", "ee-delta", "joint-position", "joint-velocity"]
END_EFFECTOR = ("ee-absolute", "ee-delta")


@dataclass(frozen=True, kw_only=True)
class ActionSpace:
    """Columns in this order: position (m) and rotation, or joints (rad or rad/s); then gripper.

    `ee-delta` is the change from the current pose: metres in the base frame, and the rotation that
    leads from the current orientation to the next, about the base frame's axes.
    """

    control: Control
    rotation: RotationForm = "euler"  # of end-effector control
    joints: int = 7  # of joint control
    gripper: int = 1  # 0-1, the same in every kind of control

    @property
    def arm(self) -> int:
        """Columns before the gripper."""
        return 3 + SIZES[self.rotation] if self.control in END_EFFECTOR else self.joints

    @property
    def size(self) -> int:
        return self.arm + self.gripper

    @property
    def names(self) -> tuple[str, ...]:
        if self.control in END_EFFECTOR:
            arm = ("x", "y", "z", *NAMES[self.rotation])
        else:
            arm = numbered("joint", self.joints)
        if self.gripper == 1:
            return (*arm, "gripper")
        return (*arm, *numbered("gripper", self.gripper))

    def into(
        self,
        target: "ActionSpace",
        actions: Float[Array, "t a"],
        *,
        pose: Float[Array, "t p"] | None = None,
        fps: float | None = None,
    ) -> Float32[Array, "t b"]:
        """Convert actions to the space `target`.

        Args:
            pose: pose of the arm at each action, in this space's rotation and columns (or joint
                positions); needed between absolute and relative control.
            fps: frames per second; needed between joint positions and velocities.

        Raises:
            UserError: the columns do not fit, a required argument is missing, or the conversion
                needs the robot's kinematics (between joints and end effector).
        """
        self._fits(actions, "actions")
        if self.gripper != target.gripper:
            raise UserError(
                f"{self.gripper} gripper columns cannot be converted to {target.gripper}."
            )
        if (self.control in END_EFFECTOR) != (target.control in END_EFFECTOR):
            raise UserError(
                f"{self.control} cannot be converted to {target.control} without the robot's "
                "kinematics. Use the columns that the dataset recorded for it."
            )
        if self.control != target.control:
            if pose is None:
                raise UserError(f"Converting {self.control} to {target.control} needs the pose.")
            self._fits(pose, "pose")
        if self.control in END_EFFECTOR:
            arm = self._end_effector(target, actions, pose)
        else:
            arm = self._joints(target, actions, pose, fps)
        return np.concatenate([arm, actions[:, self.arm :]], axis=1).astype(np.float32)

    def trainable(self) -> "ActionSpace":
        """Return the space to train in: continuous, with rotations as 6-D numbers."""
        if self.control != "ee-absolute":
            return self
        return ActionSpace(control=self.control, rotation="6d", gripper=self.gripper)

    def unwrapped(self, actions: Float[Array, "t a"]) -> Float32[Array, "t a"]:
        """Unwrap the Euler angles of one episode, so that they continue past +-pi."""
        out = np.array(actions, np.float32)
        if self.control == "ee-absolute" and self.rotation == "euler":
            out[:, 3:6] = unwrapped(actions[:, 3:6])
        return out

    def _end_effector(
        self, target: "ActionSpace", actions: Float[Array, "t a"], pose: Float[Array, "t p"] | None
    ) -> Float[Array, "t b"]:
        place, turn = actions[:, :3], read_rotation(actions[:, 3 : self.arm], self.rotation)
        if self.control != target.control:
            assert pose is not None
            here, facing = pose[:, :3], read_rotation(pose[:, 3 : self.arm], self.rotation)
            if target.control == "ee-delta":
                place, turn = place - here, turn * facing.inv()
            else:
                place, turn = here + place, turn * facing
        return np.concatenate([place, write_rotation(turn, target.rotation)], axis=1)

    def _joints(
        self,
        target: "ActionSpace",
        actions: Float[Array, "t a"],
        pose: Float[Array, "t p"] | None,
        fps: float | None,
    ) -> Float[Array, "t b"]:
        if self.joints != target.joints:
            raise UserError(f"{self.joints} joints cannot be converted to {target.joints}.")
        arm = actions[:, : self.arm]
        if self.control == target.control:
            return arm
        if fps is None or pose is None:
            raise UserError(f"Converting {self.control} to {target.control} needs the rate.")
        here = pose[:, : self.arm]
        if target.control == "joint-velocity":
            return (arm - here) * fps
        return here + arm / fps

    def _fits(self, values: Float[Array, "t a"], what: str) -> None:
        if values.shape[1] != self.size:
            raise UserError(
                f"{what} have {values.shape[1]} columns; {self.control} with these settings has "
                f"{self.size}: {', '.join(self.names)}."
            )
