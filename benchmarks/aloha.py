r"""Demonstrations of ALOHA's simulated cube transfer, recorded as ALOHA HDF5.

    python benchmarks/aloha.py --episodes 200 --out runs/aloha/demos
    python benchmarks/aloha.py --episodes 110 --driver careless --first-seed 5000 \
        --out runs/aloha/careless

A scripted driver moves both arms along way points whose joints are found by inverse kinematics: the
right arm grasps the cube, lifts it and hands it to the left arm. The careless driver aims badly.
The simulator is that of aloha_env.py.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from aloha_env import RATE, TRANSFERRED, Aloha
from robots import Robot

from worldeval.axes import Array, Float32
from worldeval.files import whole_file

TASK = "Pick up the cube with the right arm and hand it to the left arm."
REST = (0.0, -0.96, 1.16, 0.0, -0.3, 0.0)  # joints of an arm at the start
OPEN, CLOSED = 1.0, 0.0
FIRST_GRIP = 0.1  # of both grippers at the start
STILL = np.array([*REST, FIRST_GRIP, *REST, FIRST_GRIP])  # the action that holds the start
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
COLUMNS = [
    group
    for arm in ("left", "right")
    for group in (
        {"names": [f"{arm}_{joint}" for joint in JOINTS], "means": "joint", "unit": "rad",
         "motion": "absolute", "arm": arm},
        {"names": [f"{arm}_gripper"], "means": "gripper", "open": 1, "closed": 0, "arm": arm},
    )
]  # fmt: skip
ROBOT = Robot(
    name="ALOHA",
    why="two arms, 14 absolute joint targets at 50 Hz; no end effector's place is recorded",
    address="./benchmarks/aloha_env.py:make",
    tasks=(TASK,),
    every=10,
    horizon=30,
    map={
        "success": f"reward >= {TRANSFERRED}",
        "action": {"columns": COLUMNS},
        "pose": {"columns": COLUMNS},
    },
    poor=("careless",),
    # Fixed, so that they do not depend on how busy the machine is: about 20 minutes of one core.
    learn=tuple(
        word
        for key, steps in (
            ("tokenizer.trainer", 3000),
            ("kinematics.trainer", 1200),
            ("trainer", 1500),
        )
        for word in ("--set", f"{key}.steps={steps}")
    ),
    steps=3000,
    policy={
        # A shift by a pixel is a centimetre, and the gripper leaves little more.
        "augment": {"shift": 0, "brightness": 0.05, "noise": 0.01, "blur": 0.1},
        "trainer": {"batch": 32, "learning_rate": 0.0015},
    },
    without=("weak-flow", "weak-noisy", "flow", "diffusion"),
    bias=(0.0,) * 7 + (0.05, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0),
    target=(0.85, 0.85, 0.12, 0.2),
)


@dataclass(frozen=True)
class Driver:
    """How a demonstrator moves. Lengths in metres, times in controller steps."""

    grasp: float = 0.003  # deviation of the point where the cube is grasped
    meet: float = 0.01  # deviation of the place where it is handed over
    pace: tuple[float, float] = (0.9, 1.25)  # times of the movements, relative to TIMES
    wobble: float = 0.004  # deviation of the joint targets, in radians, slowly varying
    confused: float = 0.0  # share of the episodes that reach for the wrong place


DRIVERS = {
    "expert": Driver(),
    "careless": Driver(grasp=0.018, meet=0.03, pace=(0.7, 1.6), wobble=0.02, confused=0.15),
}


class Arm:
    """Inverse kinematics of one arm: joints that bring its fingertips to a place."""

    TOOL = (0.13, 0.0, 0.0)  # between the fingertips, seen from the gripper

    def __init__(self, env: Aloha, side: str) -> None:
        self._mujoco, self._model = env.mujoco, env.model
        self._data = self._mujoco.MjData(env.model)
        self._first = 0 if side == "left" else 8
        self._body = env.model.body(f"vx300s_{side}/gripper_link").id

    def joints(self, place: np.ndarray, turn: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return the six joints nearest to `start` at which the tool is at `place`.

        Args:
            place: x, y, z of the tool in metres.
            turn: rotation matrix of the gripper: its first column points forward, and its fingers
                move along the second.
            start: joints to begin from.
        """
        joints, mine = np.array(start, float), slice(self._first, self._first + 6)
        moves, turns = np.zeros((3, self._model.nv)), np.zeros((3, self._model.nv))
        ranges = self._model.jnt_range[mine]
        for _ in range(200):
            self._data.qpos[mine] = joints
            self._mujoco.mj_kinematics(self._model, self._data)
            self._mujoco.mj_comPos(self._model, self._data)
            now = self._data.xmat[self._body].reshape(3, 3)
            tool = self._data.xpos[self._body] + now @ self.TOOL
            self._mujoco.mj_jac(self._model, self._data, moves, turns, tool, self._body)
            off = sum(np.cross(now[:, k], turn[:, k]) for k in range(3)) / 2
            wrong = np.concatenate([place - tool, 0.2 * off])
            if np.abs(wrong).max() < 1e-4:
                break
            slope = np.concatenate([moves[:, mine], 0.2 * turns[:, mine]])
            change = slope.T @ np.linalg.solve(slope @ slope.T + 1e-4 * np.eye(6), wrong)
            joints = np.clip(joints + np.clip(change, -0.2, 0.2), *ranges.T)
        return joints


def turned(heading: float, down: float, roll: float) -> np.ndarray:
    """Rotation of a gripper that points along `heading`, tilted `down`; all in degrees."""
    h, d, r = np.deg2rad([heading, down, roll])
    about_z = np.array([[np.cos(h), -np.sin(h), 0], [np.sin(h), np.cos(h), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(d), 0, np.sin(d)], [0, 1, 0], [-np.sin(d), 0, np.cos(d)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(r), -np.sin(r)], [0, np.sin(r), np.cos(r)]])
    return about_z @ about_y @ about_x


# Controller steps of the phases, and each arm's gripper at their end: right, then left.
TIMES = (
    (45, OPEN, FIRST_GRIP),  # above the cube
    (25, OPEN, FIRST_GRIP),  # around it
    (18, CLOSED, FIRST_GRIP),  # grasp
    (45, CLOSED, OPEN),  # lift to the meeting place; the left arm waits beside it
    (30, CLOSED, OPEN),  # the left arm moves in
    (18, CLOSED, CLOSED),  # and grasps
    (15, OPEN, CLOSED),  # the right arm lets go
    (25, OPEN, CLOSED),  # and both withdraw
)


def plan(
    driver: Driver, cube: np.ndarray, arms: Mapping[str, Arm], rng: np.random.Generator
) -> Float32[Array, "t 14"]:
    """Return the joint targets of an episode."""
    aim = cube + np.append(rng.normal(0, driver.grasp, 2), rng.normal(0, driver.grasp / 3))
    if rng.random() < driver.confused:
        aim = np.array([rng.uniform(0.05, 0.15), rng.uniform(0.45, 0.55), cube[2]])
    meet = np.array([0.0, 0.5, 0.22]) + rng.normal(0, driver.meet, 3)
    ahead = turned(180, 60, 0)
    around = _shifted(aim, up=0.008)
    right = [_shifted(aim, up=0.09), around, around, meet, meet, meet, meet]
    right.append(_shifted(meet, along=0.08, up=0.04))
    miss = meet + rng.normal(0, driver.grasp, 3)
    side = turned(0, 0, 90)
    left = [None, None, None, _shifted(miss, along=-0.12), miss, miss, miss]
    left.append(_shifted(miss, along=-0.08))
    joints: dict[str, list[np.ndarray]] = {"left": [np.array(REST)], "right": [np.array(REST)]}
    for name, places, turn in (("right", right, ahead), ("left", left, side)):
        for place in places:
            last = joints[name][-1]
            joints[name].append(last if place is None else arms[name].joints(place, turn, last))
    pace = rng.uniform(*driver.pace)
    out: list[np.ndarray] = []
    grips = [(FIRST_GRIP, FIRST_GRIP), *((right, left) for _, right, left in TIMES)]
    for k, (steps, _, _) in enumerate(TIMES):
        count = max(4, round(steps * pace * rng.uniform(0.9, 1.1)))
        for share in (np.arange(count) + 1) / count:
            smooth = share * share * (3 - 2 * share)
            now = []
            for name, grip in (("left", 1), ("right", 0)):
                here, there = joints[name][k : k + 2]
                begin, end = grips[k][grip], grips[k + 1][grip]
                now += [*(here + smooth * (there - here)), begin + smooth * (end - begin)]
            out.append(np.array(now))
    return _wobbled(np.array(out), driver.wobble, rng).astype(np.float32)


def _shifted(place: np.ndarray, *, along: float = 0.0, up: float = 0.0) -> np.ndarray:
    return place + np.array([along, 0.0, up])


def _wobbled(actions: np.ndarray, by: float, rng: np.random.Generator) -> np.ndarray:
    """Add slow noise to the arms' joints, not to the grippers."""
    arm = np.array([*range(6), *range(7, 13)])
    drift, out = np.zeros(12), actions.copy()
    for row in out:
        drift = 0.95 * drift + np.sqrt(1 - 0.95**2) * rng.normal(0, by, 12)
        row[arm] += drift
    return out


def record(env: Aloha, driver: Driver, seed: int, *, most: int) -> dict[str, np.ndarray]:
    """Drive one episode of at most `most` world frames.

    It has a row per controller step, and a last row after the last step. Pictures are drawn once
    per world frame, and held in between.
    """
    rng = np.random.default_rng([seed, 11])
    env.reset(seed)
    for _ in range(5):  # the cube falls by three centimetres first
        env.control(STILL)
    actions = plan(driver, env.cube, {side: Arm(env, side) for side in ("left", "right")}, rng)
    every = env.steps_per_frame
    length = every * min(most, -(-len(actions) // every))
    actions = np.concatenate([actions, np.repeat(actions[-1:], every, 0)])[:length]
    seen = env.reset(seed)
    rows: dict[str, list[Any]] = {key: [] for key in ("qpos", "reward", *env.views)}
    pictures, reward = seen.frames, 0
    for step in range(length + 1):
        seen = env.frame(look=step % every == 0)
        pictures = seen.frames or pictures
        for key, value in {"qpos": seen.pose, "reward": reward, **pictures}.items():
            rows[key].append(value)
        if step < length:
            reward = env.control(actions[step])
    found = {key: np.stack(value) for key, value in rows.items()}
    return found | {"action": np.concatenate([actions, actions[-1:]])}


def write(path: Path, found: Mapping[str, np.ndarray], views: Sequence[str], source: str) -> None:
    """Write an episode as ALOHA's scripts lay it out, with its reward, task and driver."""
    with whole_file(path) as draft, h5py.File(draft, "w") as file:
        file.attrs.update(sim=True, fps=RATE, task=TASK, source=source)
        file.attrs["success"] = bool(found["reward"].max() >= TRANSFERRED)
        file["action"] = found["action"]
        file["reward"] = found["reward"].astype(np.float32)
        file["observations/qpos"] = found["qpos"]
        for view in views:
            name, pictures = f"observations/images/{view}", found[view]
            file.create_dataset(name, data=pictures, chunks=(10, *pictures.shape[1:]),
                                compression="gzip")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=120)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--driver", choices=DRIVERS, default="expert")
    parser.add_argument("--frames", type=int, default=30, help="most world frames of an episode")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    env, tops = Aloha(), []
    for number in range(args.episodes):
        path = args.out / f"episode_{args.first_seed + number}.hdf5"
        if path.is_file():
            continue
        found = record(env, DRIVERS[args.driver], args.first_seed + number, most=args.frames)
        write(path, found, env.views, args.driver)
        tops.append(int(found["reward"].max()))
    env.close()
    counts = {reward: tops.count(reward) for reward in range(5)}
    print(f"episodes by their highest reward: {counts}")


if __name__ == "__main__":
    main()
