r"""Demonstrations of PushT (`gym_pusht/PushT-v0`), recorded as a LeRobot v3 dataset.

    python benchmarks/pusht.py --episodes 200 --out runs/pusht/demos
    python benchmarks/pusht.py --episodes 100 --tries 12 --first-seed 5000 \
        --out runs/pusht/hasty

There is no scripted expert for PushT, so a planner pushes the block: it draws pushes (a point
beside the block, a direction, a length, with or without a way around), tries each in a copy of the
simulator, refines the best ones, and executes the best whole push. Few tries per push (`--tries`)
make a hasty driver that often fails. Actions are absolute target positions of the pusher in pixels
(512 x 512), at 10 Hz. Needs `pip install gym-pusht`.
"""

import argparse
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from robots import Robot

from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.record import Episode

TASK = "Push the T-shaped block onto the T-shaped target."
RATE = 10.0  # actions per second
SPEED = 30.0  # pixels per action
COVERED = 0.7  # success: reward (coverage / 0.95) of at least this much
GAIN_P, GAIN_V, SUBSTEPS = 100.0, 20.0, 10  # of the simulator's position controller
AFTER = 4  # frames recorded after success

Vector = np.ndarray  # (2,), pixels


def _planning(*params: str) -> tuple[str, ...]:
    return tuple(f"{{here}}/pusht_policies.py:make?{each}" for each in params)


POINT = {"names": ["x", "y"], "means": "planar", "unit": "px"}
ROBOT = Robot(
    name="PushT",
    why="no arm and no height: absolute targets in a plane, contact",
    address=(
        "gym:gym_pusht/PushT-v0?obs_type=pixels_agent_pos&pose=agent_pos&fps=10"
        f"&success=reward>={COVERED}"
    ),
    tasks=(TASK,),
    every=5,
    horizon=40,
    map={
        "action": {"columns": [{**POINT, "motion": "absolute"}]},
        "pose": {"columns": [POINT]},
    },
    experts=("planner",),
    poor=("hasty",),
    size=(64, 64),
    bias=(0.1, -0.1),
    steps=1600,
    checkpoints="*/step-1600",
    minutes=None,
    # Fixed, so that they do not depend on how busy the machine is: about 15 minutes of one core.
    learn=tuple(
        word
        for setting in (
            "size=[64,64]",
            "tokenizer.trainer.steps=900",
            "kinematics.trainer.steps=600",
            "trainer.steps=1000",
            "judge.trainer.steps=300",
        )
        for word in ("--set", setting)
    ),
    rank=("--no-check", "--films", "4"),
    without=(
        "weak-plain",
        "weak-few",
        "weak-flow",
        "weak-biased",
        "weak-noisy",
        "bc-few",
        "bc-poor",
        "bc-biased",
        "bc-noisy",
        "bc-blind",
        "diffusion",
    ),
    weak_code=_planning(
        "tries=90&called=weak-planner",
        "tries=60&called=weak-planner",
        "tries=35&called=weak-planner",
        "tries=12&called=weak-planner",
        "tries=50&off=20&called=weak-off",
        "tries=50&turn=0.25&called=weak-turned",
        "tries=50&shaky=20&called=weak-shaky",
    ),
    code=_planning(
        "tries=120",
        "tries=70",
        "tries=40",
        "tries=16",
        "tries=5",
        "tries=70&off=10&called=off-a-little",
        "tries=25&off=45&called=displaced",
        "tries=70&turn=0.15&called=turned-a-little",
        "tries=25&turn=0.7&called=turned",
        "tries=70&shaky=12&called=shaky",
    ),
    episodes=200,
)


@dataclass(frozen=True)
class State:
    """Full state of the simulator between two actions."""

    agent: tuple[float, float]
    velocity: tuple[float, float]
    block: tuple[float, float]
    angle: float


@dataclass(frozen=True)
class Push:
    """A planned push: an optional way around the block, a first point and a last point."""

    around: Vector | None
    first: Vector
    last: Vector

    def actions(self, start: Vector) -> list[Vector]:
        """Return the target positions from `start` on, at most SPEED apart."""
        legs = [start, *([] if self.around is None else [self.around]), self.first, self.last]
        out = []
        for here, there in itertools.pairwise(legs):
            count = max(1, int(np.ceil(np.linalg.norm(there - here) / SPEED)))
            out += [here + (there - here) * (k + 1) / count for k in range(count)]
        return [np.clip(each, 15, 497) for each in (*out, self.last)]

    def jittered(self, by: float, rng: np.random.Generator) -> "Push":
        """Return a push whose points are moved by normal noise of `by` pixels."""
        moved = None if self.around is None else self.around + rng.normal(0, by, 2)
        return Push(moved, self.first + rng.normal(0, by, 2), self.last + rng.normal(0, by, 2))


class Planner:
    """Finds the next push in a copy of the simulator.

    Args:
        tries: pushes drawn at random for each decision; half as many refine the best ones.
    """

    def __init__(self, tries: int) -> None:
        self.tries, self.sim = tries, _simulator("state")
        self.sim.reset(seed=0)
        self._parts = [np.array(s.get_vertices()) for s in self.sim.block.shapes]
        self._goal = self._placed(self.sim.goal_pose[:2], self.sim.goal_pose[2])

    def error(self, state: State) -> float:
        """Return the mean distance of the block's corners from their goal, in pixels."""
        return self._result(state, [])

    def plan(self, state: State, rng: np.random.Generator) -> list[Vector]:
        """Return the actions of the best push found."""
        now = self.error(state)
        start = np.array(state.agent)
        found: list[tuple[float, Push, list[Vector]]] = []

        def attempt(push: Push) -> None:
            actions = push.actions(start)
            waiting = 0.3 * len(actions) * min(1.0, now / 40)
            found.append((self._result(state, actions) + waiting, push, actions))

        for _ in range(self.tries):
            attempt(self._drawn(state, now, rng))
        best = [push for _, push, _ in sorted(found, key=lambda each: each[0])[:6]]
        for _ in range(self.tries // 2):
            attempt(best[rng.integers(len(best))].jittered(rng.uniform(0.5, 8), rng))
        return min(found, key=lambda each: each[0])[2]

    def _drawn(self, state: State, error: float, rng: np.random.Generator) -> Push:
        """Draw a push across a random point of the block's outline."""
        turn = _rotation(state.angle)
        corners = self._parts[rng.integers(len(self._parts))]
        k, along = rng.integers(len(corners)), rng.random()
        edge = corners[(k + 1) % len(corners)] - corners[k]
        point = corners[k] + along * edge
        normal = np.array([edge[1], -edge[0]]) / np.linalg.norm(edge)
        if normal @ (point - corners.mean(axis=0)) < 0:
            normal = -normal
        centre = turn @ self._parts[0].mean(axis=0) + state.block
        normal, point = turn @ normal, turn @ point + state.block
        first = point + normal * rng.uniform(18, 30)
        last = first - _rotation(rng.normal(0, 0.35)) @ normal * rng.uniform(13, 1.2 * error + 35)
        if rng.random() < 0.4:
            return Push(None, first, last)
        side = _rotation(rng.uniform(0, 2 * np.pi)) @ np.array([rng.uniform(80, 150), 0.0])
        return Push(centre + side, first, last)

    def _result(self, state: State, actions: Sequence[Vector]) -> float:
        """Mean distance of the block's corners from their goal after `actions`, in pixels."""
        sim, agent = self.sim, self.sim.agent
        agent.position, agent.velocity = state.agent, state.velocity
        sim.block.position, sim.block.angle = state.block, state.angle
        sim.block.velocity, sim.block.angular_velocity = (0, 0), 0
        for body in (agent, sim.block):
            sim.space.reindex_shapes_for_body(body)
        step = 1 / RATE / SUBSTEPS
        for x, y in actions:
            for _ in range(SUBSTEPS):
                at, v = agent.position, agent.velocity
                agent.velocity = (
                    v[0] + (GAIN_P * (x - at[0]) - GAIN_V * v[0]) * step,
                    v[1] + (GAIN_P * (y - at[1]) - GAIN_V * v[1]) * step,
                )
                sim.space.step(step)
        placed = self._placed(sim.block.position, sim.block.angle)
        return float(np.linalg.norm(placed - self._goal, axis=1).mean())

    def _placed(self, place: Any, angle: float) -> np.ndarray:
        return np.concatenate(self._parts) @ _rotation(angle).T + np.array(place)


def record(
    seed: int, planner: Planner, *, horizon: int, noise: float, source: str = "planner"
) -> Episode:
    """Record one episode from the simulator's reset with `seed`.

    Args:
        horizon: actions at most.
        noise: standard deviation of the executed pushes' points, in pixels; less within 40 pixels
            of the goal. The driver then has to correct itself, which teaches recovery.
    """
    rng = np.random.default_rng(seed)
    env = _simulator("pixels_agent_pos")
    seen, _ = env.reset(seed=seed)
    frames, poses, actions, rewards = [seen["pixels"]], [seen["agent_pos"]], [], [0.0]
    waiting, left = [], AFTER
    while len(actions) < horizon and left:
        if not waiting:
            state = _state(env)
            drift = rng.normal(0, noise, 2) * min(1.0, planner.error(state) / 40)
            waiting = [each + drift for each in planner.plan(state, rng)]
        action = np.clip(waiting.pop(0), 0, 512).astype(np.float32)
        seen, reward, *_ = env.step(action.astype(np.float64))
        frames.append(seen["pixels"])
        poses.append(seen["agent_pos"])
        actions.append(action)
        rewards.append(float(reward))
        left -= max(rewards) >= COVERED
    return Episode(
        id=f"{source}-{seed}",
        frames={"pixels": np.stack(frames)},
        actions=np.stack([*actions, actions[-1]]),
        pose=np.stack(poses).astype(np.float32),
        task=TASK,
        success=max(rewards) >= COVERED,
        fps=RATE,
        source=source,
    )


def _simulator(observation: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pygame's import
        from gym_pusht.envs.pusht import PushTEnv  # pyright: ignore[reportMissingImports]
    return PushTEnv(obs_type=observation)


def _state(env: Any) -> State:
    return State(
        agent=tuple(env.agent.position),
        velocity=tuple(env.agent.velocity),
        block=tuple(env.block.position),
        angle=float(env.block.angle),
    )


def _rotation(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--horizon", type=int, default=200)
    parser.add_argument("--noise", type=float, default=4.0)
    args = parser.parse_args()
    planner = Planner(args.tries)
    layout = Layout(
        fps=RATE, views={"pixels": (96, 96)}, action_names=("x", "y"), pose_names=("x", "y"),
        robot="pusht",
    )  # fmt: skip
    with LeRobotWriter(args.out, layout) as writer:
        for place in range(args.episodes):
            if not writer.has(place):
                seed = args.first_seed + place
                found = record(
                    seed, planner, horizon=args.horizon, noise=args.noise,
                    source="planner" if args.tries >= 50 else "hasty",
                )  # fmt: skip
                writer.add(found)
                print(place, len(found), found.success, flush=True)


if __name__ == "__main__":
    main()
