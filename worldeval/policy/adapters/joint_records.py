"""Recordings of an arm's joints, commands and end effector, to fit and test adapters.

They are read from Ctrl-World annotations that include DROID's raw arrays, or from .npz files (one
per episode) with `joints` (t j), `commands` (t j) and `pose` (t 6: position in metres, roll pitch
yaw).
"""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.files import read_json
from worldeval.policy.adapters.motion import ArmMotion

COMMANDS = {
    "joint-position": "action.joint_position",
    "joint-velocity": "action.joint_velocity",
}


@dataclass(frozen=True, kw_only=True)
class JointRecord:
    """One recorded episode; row t of `commands` was given at row t of the rest."""

    id: str
    joints: Float[Array, "t j"]  # rad
    commands: Float[Array, "t j"]  # as the policy gives them
    pose: Float[Array, "t 6"]  # m, and roll pitch yaw in rad

    @property
    def turn(self) -> Rotation:
        return Rotation.from_euler("xyz", self.pose[:, 3:])


@dataclass(frozen=True, kw_only=True)
class MotionError:
    """Mean error of predictions one world frame ahead, against the recordings."""

    position_mm: float
    rotation_deg: float
    still_position_mm: float  # when predicting no motion
    still_rotation_deg: float
    joints_rad: float  # of the joints inferred from the pose alone, along an episode
    frames: int
    episodes: int


def read_records(path: Path, control: str) -> list[JointRecord]:
    """Read every recording under `path` for policies of this control."""
    found = [record for one in sorted(path.rglob("*.npz")) for record in _npz(one)]
    for one in sorted(path.rglob("*.json")):
        found += _annotation(one, COMMANDS[control])
    if not found:
        raise UserError(
            f"{path} has no joint recordings: neither Ctrl-World annotations with "
            f"{COMMANDS[control]}, nor .npz files with joints, commands and pose."
        )
    widths = {record.joints.shape[1] for record in found}
    if len(widths) > 1:
        raise UserError(
            f"{path} mixes arms of {sorted(widths)} joints. Give recordings of a single arm."
        )
    return found


def split(
    records: Sequence[JointRecord], *, share: float, rng: np.random.Generator
) -> tuple[list[JointRecord], list[JointRecord]]:
    """Split episodes into those to fit and those held out, at least one of each."""
    if len(records) < 2:
        raise UserError("One recording cannot be split; give two or more episodes.")
    order = rng.permutation(len(records))
    count = min(max(round(share * len(records)), 1), len(records) - 1)
    held = set(order[:count].tolist())
    kept = [record for number, record in enumerate(records) if number not in held]
    return kept, [records[number] for number in sorted(held)]


def fitted_scale(records: Sequence[JointRecord], *, steps: int, fps: float) -> float:
    """Fit the rad/s of actual joint motion per unit of commanded velocity, by least squares.

    A controller that follows slowly gives a small number.
    """
    moved, told = [], []
    for record in records:
        for first in range(0, len(record.joints) - steps, steps):
            moved.append(record.joints[first + steps] - record.joints[first])
            told.append(record.commands[first : first + steps].sum(axis=0) / fps)
    x, y = np.concatenate(told), np.concatenate(moved)
    if not x.any():
        raise UserError(
            "All commanded velocities in the recordings are zero, so nothing can be fitted."
        )
    return float(x @ y / (x @ x))


def measure(motion: ArmMotion, records: Sequence[JointRecord], *, steps: int) -> MotionError:
    """Measure a motion's error on recordings, one world frame (`steps` commands) at a time.

    As in a roll-out, joints are inferred from the pose, then moved by the recorded commands.
    """
    place, turn, still, spun, joints, frames = [], [], [], [], [], 0
    for record in records:
        near = record.joints[:1]  # a redundant arm's posture is taken as known
        for first in range(0, len(record.joints) - steps, steps):
            last = first + steps
            here, facing = record.pose[first : first + 1, :3], record.turn[first : first + 1]
            back = record.turn[last : last + 1].inv()
            near = motion.joints(here, facing, near)
            _, there, turned = motion.move(near, record.commands[None, first:last])
            place.append(np.linalg.norm(there[0] - record.pose[last, :3]))
            turn.append((back * turned).magnitude()[0])
            still.append(np.linalg.norm(here[0] - record.pose[last, :3]))
            spun.append((back * facing).magnitude()[0])
            joints.append(np.abs(near[0] - record.joints[first]).mean())
            frames += 1
    return MotionError(
        position_mm=1000 * float(np.mean(place)),
        rotation_deg=float(np.degrees(np.mean(turn))),
        still_position_mm=1000 * float(np.mean(still)),
        still_rotation_deg=float(np.degrees(np.mean(spun))),
        joints_rad=float(np.mean(joints)),
        frames=frames,
        episodes=len(records),
    )


def _npz(path: Path) -> Iterator[JointRecord]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            if not {"joints", "commands", "pose"} <= set(file.files):
                return
            found = [file[name] for name in ("joints", "commands", "pose")]
    except (OSError, ValueError, LookupError, EOFError, RuntimeError, AttributeError, TypeError,
            MemoryError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise UserError(f"{path} is not a readable npz file of joints: {error}") from error
    yield _checked(path, *found)


def _annotation(path: Path, command: str) -> Iterator[JointRecord]:
    raw = read_json(path)
    needed = ("observation.state.joint_position", command, "observation.state.cartesian_position")
    if isinstance(raw, dict) and all(key in raw for key in needed):
        try:
            joints, commands, pose = (np.array(raw[key], float) for key in needed)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{path}: {', '.join(needed)} must contain numbers ({error})."
            ) from error
        yield _checked(path, joints, commands, pose)


def _checked(path: Path, joints: Array, commands: Array, pose: Array) -> JointRecord:
    fits = joints.ndim == 2 and joints.shape == commands.shape and pose.shape == (len(joints), 6)
    if not fits or not all(np.isfinite(part).all() for part in (joints, commands, pose)):
        raise UserError(
            f"{path}: joints {joints.shape}, commands {commands.shape} and pose {pose.shape} must "
            "be (t j), (t j) and (t 6), with finite values."
        )
    return JointRecord(
        id=path.stem,
        joints=joints.astype(float),
        commands=commands.astype(float),
        pose=pose.astype(float),
    )
