"""A robot arm's kinematics from its URDF, computed by MuJoCo."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float
from worldeval.errors import UserError, did_you_mean

TURNING = ("revolute", "continuous", "prismatic")
TOLERANCE = 1e-4  # metres and radians, at which inverse kinematics has converged
DAMPING = 1e-3  # of the least squares, to keep steps small near a singularity
STEPS = 200


class Arm:
    """Forward and inverse kinematics of one link of the robot."""

    def __init__(
        self, urdf: Path, *, frame: str, joints: Sequence[str] = (), rest: Sequence[float] = ()
    ) -> None:
        """Read the robot. Meshes are not needed and not read.

        Args:
            frame: the link whose pose is computed.
            joints: names in the policy's order; default: those between the base and the link.
            rest: a typical posture, where the inverse starts; default: the middle of the limits.

        Raises:
            UserError: the file is not a URDF, or has no such link or joint.
        """
        mujoco = _mujoco()
        root = _tree(urdf)
        links = [link.get("name", "") for link in root.iter("link")]
        if frame not in links:
            raise UserError(f"{urdf} has no link '{frame}'.{did_you_mean(frame, links)}")
        chain = _chain(root, frame)
        missing = [name for name in joints if name not in chain]
        if missing or not chain:
            hint = did_you_mean(missing[0], chain) if missing else ""
            raise UserError(f"{urdf}: no joint '{(missing or ['?'])[0]}' moves '{frame}'.{hint}")
        self._mujoco = mujoco
        try:
            self._model: Any = mujoco.MjModel.from_xml_string(_plain(root))
        except ValueError as error:
            raise UserError(f"MuJoCo cannot read {urdf}: {error}") from error
        self._data: Any = mujoco.MjData(self._model)
        self.joints = tuple(joints) or tuple(chain)
        places = [self._model.joint(name) for name in self.joints]
        self._at = np.array([int(place.qposadr[0]) for place in places])
        self._turns = np.array([int(place.dofadr[0]) for place in places])
        self._body = int(self._model.body(frame).id)
        limited = np.array([bool(place.limited[0]) for place in places])
        ranges = np.array([place.range for place in places], float)
        self.low = np.where(limited, ranges[:, 0], -np.inf)
        self.high = np.where(limited, ranges[:, 1], np.inf)
        middle = np.where(limited, ranges.mean(axis=1), 0.0)
        if rest and len(rest) != len(self.joints):
            raise UserError(
                f"rest has {len(rest)} values, but there are {len(self.joints)} joints."
            )
        self.rest = np.array(rest, float) if rest else middle

    def forward(self, joints: Float[Array, "n j"]) -> tuple[Float[Array, "n 3"], Rotation]:
        """Return position (m) and orientation of the link in the base's frame."""
        places, turns = np.empty((len(joints), 3)), np.empty((len(joints), 4))
        for row, posture in enumerate(joints):
            self._pose(posture)
            places[row], turns[row] = self._data.xpos[self._body], self._data.xquat[self._body]
        return places, Rotation.from_quat(turns[:, [1, 2, 3, 0]])  # MuJoCo writes w first

    def inverse(
        self, place: Float[Array, " 3"], turn: Rotation, near: Float[Array, " j"]
    ) -> tuple[Float[Array, " j"], float]:
        """Find joints within their limits for a pose of the link, and the remaining error.

        Damped least squares (Nakamura and Hanafusa 1986, eq. 20) from the posture `near`, to which
        a redundant arm stays close. The error combines metres and radians.
        """
        joints = np.array(near, float)
        jacobian = np.zeros((6, self._model.nv))
        error = np.zeros(6)
        for _ in range(STEPS):
            here, facing = self.forward(joints[None])
            error = np.concatenate([place - here[0], (turn * facing[0].inv()).as_rotvec()])
            if np.linalg.norm(error) < TOLERANCE:
                break
            self._mujoco.mj_comPos(self._model, self._data)
            self._mujoco.mj_jacBody(self._model, self._data, jacobian[:3], jacobian[3:], self._body)
            own = jacobian[:, self._turns]
            step = own.T @ np.linalg.solve(own @ own.T + DAMPING * np.eye(6), error)
            joints = np.clip(joints + step, self.low, self.high)
        return joints, float(np.linalg.norm(error))

    def _pose(self, joints: Float[Array, " j"]) -> None:
        self._data.qpos[self._at] = joints
        self._mujoco.mj_kinematics(self._model, self._data)


def _mujoco() -> ModuleType:
    try:
        import mujoco
    except ModuleNotFoundError as error:
        raise UserError(
            "Kinematics from a URDF needs MuJoCo: pip install 'worldeval[sim]'."
        ) from error
    return mujoco


def _tree(urdf: Path) -> ElementTree.Element:
    if not urdf.is_file():
        raise UserError(f"There is no file {urdf}.")
    try:
        root = ElementTree.parse(urdf).getroot()
    except ElementTree.ParseError as error:
        raise UserError(f"{urdf} is not readable XML: {error}") from error
    if root.tag != "robot":
        raise UserError(f"{urdf} is not a URDF: its root is <{root.tag}>, not <robot>.")
    return root


def _chain(root: ElementTree.Element, frame: str) -> list[str]:
    """The moving joints from the base to the link."""
    above = {}
    for joint in root.iter("joint"):
        child, parent = joint.find("child"), joint.find("parent")
        if child is not None and parent is not None:
            above[child.get("link")] = (parent.get("link"), joint)
    chain, link = [], frame
    while link in above:
        link, joint = above.pop(link)
        if joint.get("type") in TURNING:
            chain.append(joint.get("name", ""))
    return chain[::-1]


def _plain(root: ElementTree.Element) -> str:
    """Reduce the URDF to its joints and links: no mesh is read, and every link can move."""
    for link in root.iter("link"):
        for part in list(link):
            link.remove(part)
        inertial = ElementTree.SubElement(link, "inertial")
        ElementTree.SubElement(inertial, "mass", value="1")
        ElementTree.SubElement(
            inertial, "inertia", ixx="1", iyy="1", izz="1", ixy="0", ixz="0", iyz="0"
        )
    for tag in ("transmission", "gazebo", "material", "mujoco"):
        for part in root.findall(tag):
            root.remove(part)
    # Keep fixed joints, so that the requested link still exists.
    wanted = ElementTree.SubElement(root, "mujoco")
    ElementTree.SubElement(wanted, "compiler", fusestatic="false", discardvisual="true")
    return ElementTree.tostring(root, encoding="unicode")
