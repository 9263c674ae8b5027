"""A toy arm whose rotations matter: it reaches for the red square, turns as it says and closes.

Two cameras see the red goal, a blue decoy and the green hand. The rotation to reach depends on the
goal, and so do the joints of the variant that has some.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.data.columns import ColumnGroup, ColumnMeanings, Motion, StoredForm, names
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.policy.misread.rotations import LAYOUTS
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

REACH, SPEED, CLOSE = 0.4, 0.18, 0.15  # metres; share of the way in a frame; metres
TURN = np.array([0.9, 0.7, 0.95])  # radians of roll, pitch, yaw at the ends of the reach
JOINTS = np.random.default_rng(7).normal(0, 0.45, (3, 5)) / REACH
FRAMES = 12
NAMES = {
    "euler": ("roll", "pitch", "yaw"),
    "quaternion": ("qx", "qy", "qz", "qw"),
    "axis-angle": ("rx", "ry", "rz"),
    "6d": ("a1", "a2", "a3", "b1", "b2", "b3"),
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A variant: how rotations are stored, what actions say, how large pictures are."""

    form: StoredForm | Literal["joint"] = (
        "euler"  # of the pose and of absolute actions; 'joint': joints, no rotation
    )
    motion: Motion = "absolute"
    size: tuple[int, int] = (32, 32)
    gripper: tuple[float, float] = (0.0, 1.0)  # of the action: open, closed

    @property
    def turn(self) -> StoredForm:
        """The form of rotations in an action."""
        assert self.form != "joint"
        return "axis-angle" if self.motion == "delta" else self.form

    @property
    def meaning(self) -> ColumnMeanings:
        opened, closed = self.gripper
        hand = ColumnGroup(names=("gripper",), means="gripper", open=opened, closed=closed)
        held = ColumnGroup(names=("held",), means="gripper", open=0.0, closed=1.0)
        if self.form == "joint":
            moved = ColumnGroup(
                names=("j1", "j2", "j3", "j4", "j5"), means="joint", motion=self.motion, unit="rad"
            )
            return ColumnMeanings(action=(moved, hand), pose=(replace(moved, motion="absolute"),
                                                              held))  # fmt: skip
        place = ColumnGroup(names=("x", "y", "z"), means="position", unit="m")

        def turned(form: StoredForm, motion: Motion) -> ColumnGroup:
            unit = "rad" if form in ("euler", "axis-angle") else ""
            return ColumnGroup(
                names=NAMES[form], means="rotation", form=form, motion=motion, unit=unit
            )

        return ColumnMeanings(
            action=(replace(place, motion=self.motion), turned(self.turn, self.motion), hand),
            pose=(place, turned(self.form, "absolute"), held),
        )

    def pose(self, place: np.ndarray, turn: Rotation, held: float) -> np.ndarray:
        if self.form == "joint":
            return np.append(place @ JOINTS, held)
        return np.concatenate([place, LAYOUTS[self.form][1](turn)[0], [held]])

    def read(self, pose: np.ndarray) -> tuple[np.ndarray, Rotation]:
        """The position and rotation of poses."""
        if self.form == "joint":
            place = np.linalg.lstsq(JOINTS.T, pose[:, :5].T, rcond=None)[0].T
            return place, Rotation.identity(len(pose))
        return pose[:, :3], LAYOUTS[self.form][0](pose[:, 3:-1])

    def command(self, place: np.ndarray, turn: Rotation, goal: np.ndarray) -> np.ndarray:
        """The expert's actions: SPEED of the way to the goal, closing near it."""
        step = SPEED * (goal - place)
        change = Rotation.from_rotvec(SPEED * (facing(goal) * turn.inv()).as_rotvec())
        near = np.linalg.norm(goal - place, axis=1) < CLOSE
        hand = np.where(near, self.gripper[1], self.gripper[0])[:, None]
        if self.form == "joint":
            to = step if self.motion == "delta" else place + step
            return np.concatenate([to @ JOINTS, hand], 1)
        to, turned = (step, change) if self.motion == "delta" else (place + step, change * turn)
        return np.concatenate([to, LAYOUTS[self.turn][1](turned), hand], 1)

    def draw(self, place: np.ndarray, goal: np.ndarray, decoy: np.ndarray) -> dict[str, np.ndarray]:
        """The pictures of both cameras."""
        out = {}
        for view, axes, ground in (("front", (0, 2), 190), ("top", (0, 1), 70)):
            image = np.full((*self.size, 3), ground, np.uint8)
            for spot, colour in ((decoy, (20, 20, 240)), (goal, (240, 20, 20)),
                                 (place, (20, 240, 20))):  # fmt: skip
                row, column = pixel(spot[list(axes)], self.size)
                image[row : row + 4, column : column + 4] = colour
            out[view] = image
        return out


def facing(goal: np.ndarray) -> Rotation:
    """The rotation with which a goal is reached."""
    return Rotation.from_euler("xyz", np.clip(goal / REACH, -1, 1) * TURN)


def pixel(spot: np.ndarray, size: tuple[int, int]) -> tuple[int, int]:
    column, row = ((spot / REACH + 1) / 2 * (np.array(size[::-1]) - 4)).round().astype(int)
    return int(np.clip(row, 0, size[0] - 4)), int(np.clip(column, 0, size[1] - 4))


def seen(image: np.ndarray) -> np.ndarray:
    """Where the red square is in pictures, as two coordinates within the reach."""
    image = image.astype(np.float64)
    red = (image[..., 0] > 150) & (image[..., 1] < 100) & (image[..., 2] < 100)
    height, width = image.shape[1:3]
    count = np.maximum(red.sum((1, 2)), 1)
    row = (red * np.arange(height)[None, :, None]).sum((1, 2)) / count - 1.5
    column = (red * np.arange(width)[None, None]).sum((1, 2)) / count - 1.5
    spot = np.stack([column / (width - 4), row / (height - 4)], 1) * 2 - 1
    shown = np.asarray(red.any((1, 2)))
    return np.where(shown[:, None], REACH * spot, 0.0)


class ArmData(Source):
    """Episodes of the expert, in memory."""

    def __init__(self, arm: Arm, *, episodes: int = 24, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.arm, self.findings = arm, []
        self._rows, self._frames, self.heads = [], [], []
        for index in range(episodes):
            rows, frames = self._episode(rng)
            self._rows.append(rows)
            self._frames.append(frames)
            self.heads.append(Head(id=f"e{index}", length=FRAMES, task="reach", success=True))
        self.spec = SourceSpec(
            format="toy",
            path=Path("arm"),
            fps=10.0,
            views=dict.fromkeys(("front", "top"), arm.size),
            action_names=names(arm.meaning.action),
            pose_names=names(arm.meaning.pose),
            meaning=arm.meaning,
        )

    def _episode(self, rng: np.random.Generator) -> tuple[Rows, dict[str, np.ndarray]]:
        place, goal, decoy = rng.uniform(-REACH, REACH, (3, 3))
        turn, held = Rotation.from_euler("xyz", rng.uniform(-0.6, 0.6, (1, 3))), 0.0
        poses, actions, drawn = [], [], []
        for _ in range(FRAMES):
            action = self.arm.command(place[None], turn, goal[None])[0]
            poses.append(self.arm.pose(place, turn, held))
            actions.append(action)
            drawn.append(self.arm.draw(place, goal, decoy))
            place = place + SPEED * (goal - place) + rng.normal(0, 0.012, 3)
            change = Rotation.from_rotvec(SPEED * (facing(goal[None]) * turn.inv()).as_rotvec())
            turn = Rotation.from_rotvec(rng.normal(0, 0.03, 3)) * change * turn
            held = float(action[-1] == self.arm.gripper[1])
        rows = Rows(actions=np.array(actions, np.float32), pose=np.array(poses, np.float32))
        return rows, {view: np.stack([each[view] for each in drawn]) for view in drawn[0]}

    def rows(self, index: int) -> Rows:
        return self._rows[index]

    def frames(self, index: int, view: str, rows: Any = None) -> np.ndarray:
        return self._frames[index][view][... if rows is None else rows]


class Expert:
    """Reads the goal off the pictures and acts as the demonstrators did, with noise."""

    def __init__(self, arm: Arm, *, noise: float = 0.0, chunk: int = 1) -> None:
        self.arm, self._noise = arm, noise
        width = len(names(arm.meaning.action))
        self.spec = PolicySpec(
            name="expert", lineage="expert", step=0, views=("front", "top"), action_dim=width,
            chunk=chunk,
        )  # fmt: skip
        self._rngs: list[np.random.Generator] = []

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        self._rngs = [np.random.default_rng(seed) for seed in seeds]

    def act(self, observation: Observation) -> np.ndarray:
        front, top = (seen(observation.frames[view]) for view in ("front", "top"))
        goal = np.stack([(front[:, 0] + top[:, 0]) / 2, top[:, 1], front[:, 1]], 1)
        place, turn = self.arm.read(observation.pose.astype(np.float64))
        out = []
        for _ in range(self.spec.chunk):
            out.append(self.arm.command(place, turn, goal))
            place = place + SPEED * (goal - place)
            change = Rotation.from_rotvec(SPEED * (facing(goal) * turn.inv()).as_rotvec())
            turn = change * turn
        chunk = np.stack(out, 1)
        noise = np.stack([rng.normal(0, 1, chunk.shape[1:]) for rng in self._rngs])
        return (chunk + self._noise * noise).astype(np.float32)
