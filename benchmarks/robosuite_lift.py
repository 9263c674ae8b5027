r"""Scripted demonstrations of robosuite's Lift, recorded as a robomimic file.

    export MUJOCO_GL=osmesa
    python benchmarks/robosuite_lift.py --episodes 130 --out runs/lift/demos.hdf5
    python benchmarks/robots.py robosuite_lift --demos runs/lift/demos.hdf5 --out runs/lift

The drivers know where the cube is, which a policy must see. Besides good ones there are slow ones,
some that reach beside the cube or close the gripper above it, and some that only play.
robosuite_env.py describes the simulator.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from robosuite_env import POSE, TABLE, TASK, Lift, arguments
from robots import Robot
from scipy.spatial.transform import Rotation

HORIZON = 80  # control steps of a demonstration
AFTER = 8  # control steps recorded after success

Vector = np.ndarray

ROBOT = Robot(
    name="robosuite Lift",
    why="changes of an end effector's pose, front and wrist views of unequal size, robomimic",
    address="./benchmarks/robosuite_env.py:make",
    tasks=(TASK,),
    every=4,
    horizon=20,
    experts=("expert", "expert-noise"),
    poor=("near-miss", "high"),
    size=(56, 64),
    # The cube is a few pixels wide: pictures shifted by as many teach to miss it.
    policy={
        "augment": {"shift": 0, "brightness": 0.05, "noise": 0.01, "blur": 0.1},
        "trainer": {"batch": 32, "learning_rate": 0.0015},
    },
    steps=4000,
    minutes=None,
    # Fixed, so that they do not depend on how busy the machine is: about 15 minutes of one core.
    learn=(
        "--set",
        "tokenizer.trainer.steps=1500",
        "--set",
        "kinematics.trainer.steps=700",
        "--set",
        "trainer.steps=1300",
    ),
    without=("diffusion", "bc-blind"),
    rank=("--films", "4"),
    bias=(0.12, 0.12, 0.0, 0.0, 0.0, 0.0, 0.0),
)


@dataclass(frozen=True)
class Style:
    """How a scripted driver differs from the best one."""

    speed: tuple[float, float] = (0.4, 0.6)  # share of the largest motion
    noise: float = 0.0  # standard deviation of what is added to the motions, correlated in time
    beside: tuple[float, float] = (0.0, 0.0)  # metres between the cube and where the driver reaches
    above: tuple[float, float] = (0.0, 0.0)  # metres above the cube at which the gripper closes
    play: bool = False  # reach for random places instead of the cube


STYLES = {
    "expert": Style(),
    "expert-noise": Style(noise=0.2),
    "slow": Style(speed=(0.2, 0.35), noise=0.05),
    "near-miss": Style(noise=0.1, beside=(0.015, 0.045)),
    "high": Style(noise=0.1, above=(0.015, 0.04)),
    "play": Style(speed=(0.3, 0.7), noise=0.2, play=True),
}
SHARES = {  # of the episodes
    "expert": 0.3, "expert-noise": 0.25, "slow": 0.1, "near-miss": 0.15, "high": 0.1, "play": 0.1,
}  # fmt: skip


class Driver:
    """Reaches above the cube, goes down, closes the gripper and lifts; begins again if it slips.

    It knows where the cube is, which a policy must see.
    """

    def __init__(self, style: Style, rng: np.random.Generator) -> None:
        self.style, self.rng = style, rng
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(*style.beside)
        self._off = np.array([*(radius * np.array([np.cos(angle), np.sin(angle)])), 0.0])
        self._off[2] = rng.uniform(*style.above)
        self._speed = rng.uniform(*style.speed)
        self._phase, self._since, self._drift = 0, 0, np.zeros(6)
        self._place = np.zeros(3)

    def action(self, seen: Mapping[str, Vector]) -> Vector:
        """Return the next action: change of position and rotation, and the gripper (-1: open)."""
        at, cube = seen["robot0_eef_pos"], seen["cube_pos"]
        if self.style.play:
            if self._since % 15 == 0:
                self._place = np.array([*self.rng.uniform(-0.15, 0.15, 2), TABLE])
                self._place[2] += self.rng.uniform(0.02, 0.2)
                self._phase = self.rng.choice([0, 2])
            goal = self._place
        else:
            goal = self._goal(at, cube)
        self._since += 1
        turned = _turn_back(seen["robot0_eef_quat"])
        motion = np.concatenate([(goal - at) / 0.05 * 1.5, turned / 0.5 * 0.5])
        motion = np.clip(motion, -self._speed, self._speed)
        self._drift = 0.8 * self._drift + 0.6 * self.rng.normal(0, 1, 6)
        motion += self.style.noise * self._drift * np.array([1, 1, 1, 0.3, 0.3, 0.3])
        grip = 1.0 if self._phase >= 2 else -1.0
        return np.clip([*motion, grip], -1, 1)

    def _goal(self, at: Vector, cube: Vector) -> Vector:
        """Move on to the next phase if this one is done, and return where to reach."""
        aim = cube + self._off
        flat = np.linalg.norm((at - aim)[:2])
        if self._phase == 0 and flat < 0.012 and at[2] < aim[2] + 0.11:
            self._to(1)
        elif self._phase == 1 and abs(at[2] - aim[2]) < 0.01 and flat < 0.015:
            self._to(2)
        elif self._phase == 2 and self._since >= 6:
            self._to(3)
        elif self._phase == 3 and at[2] > TABLE + 0.1 and cube[2] < TABLE + 0.05:
            self._to(0)  # it slipped
        if self._phase == 2:
            return at
        return aim + np.array([0, 0, {0: 0.07, 1: 0.0, 3: 0.2}[self._phase]])

    def _to(self, phase: int) -> None:
        self._phase, self._since = phase, 0


def record(env: Lift, style: str, seed: int) -> dict[str, np.ndarray]:
    """Record one episode from the simulator's reset with `seed`, a row per control step."""
    frame, rng = env.reset(seed), np.random.default_rng([seed, 1])
    driver, left = Driver(STYLES[style], rng), AFTER
    rows: dict[str, list[Any]] = {}
    while len(rows.get("actions", ())) < HORIZON and left:
        action = driver.action(env.seen)
        row = {f"obs/{view}_image": image for view, image in frame.frames.items()}
        row |= {f"obs/{key}": env.seen[key] for key in POSE}
        frame = env.step(action)
        # As in robosuite's own recordings, a reward is that of the frame after the action.
        row |= {"actions": action, "rewards": float(frame.success)}
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
        left -= any(rows["rewards"])
    return {key: np.array(values) for key, values in rows.items()}


def write(out: Path, *, styles: Mapping[str, float], episodes: int, first_seed: int) -> None:
    """Record demonstrations by drivers in the given shares, as one robomimic file."""
    env = Lift()
    names = list(styles)
    share = np.array([styles[name] for name in names]) / sum(styles.values())
    picked = np.random.default_rng(first_seed).choice(len(names), episodes, p=share)
    out.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(out, "w") as file:
        data = file.create_group("data")
        about = {"env_name": TASK, "type": 1, "env_kwargs": arguments()}
        data.attrs["env_args"] = json.dumps(about)
        for place in range(episodes):
            style = names[picked[place]]
            found = record(env, style, first_seed + place)
            demo = data.create_group(f"demo_{place}")
            for key, values in found.items():
                if values.ndim == 4:
                    demo.create_dataset(
                        key, data=values, chunks=(1, *values.shape[1:]), compression=1
                    )
                else:
                    demo[key] = values
            demo["dones"] = (np.arange(len(found["actions"])) == len(found["actions"]) - 1) * 1
            demo.attrs["num_samples"] = len(found["actions"])
            demo.attrs["source"] = style
            print(place, style, len(found["actions"]), bool(found["rewards"].any()), flush=True)
        data.attrs["total"] = sum(int(demo.attrs["num_samples"]) for demo in data.values())
    env.close()


def _turn_back(quaternion: Vector) -> Vector:
    """Rotation vector (radians) that points the gripper straight down."""
    down = Rotation.from_quat([1.0, 0.0, 0.0, 0.0])
    return (down * Rotation.from_quat(quaternion).inv()).as_rotvec()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--driver", choices=list(STYLES), help="one driver instead of all")
    args = parser.parse_args()
    styles = {args.driver: 1.0} if args.driver else SHARES
    write(args.out, styles=styles, episodes=args.episodes, first_seed=args.first_seed)


if __name__ == "__main__":
    main()
