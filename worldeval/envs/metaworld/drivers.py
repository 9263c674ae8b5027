"""Controllers for data collection: experts, perturbed experts, and random play.

A world model that saw only successes predicts success everywhere, so most drivers fail on purpose.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.config import retired
from worldeval.envs.metaworld.env import OBJECT, RAW_ACTION_DIM, MetaWorld
from worldeval.errors import UserError

Generator = np.random.Generator
RESUMED = 0.5  # probability that the expert resumes after an interruption by play
HAND_LOW, HAND_HIGH = np.array([-0.35, 0.42, 0.06]), np.array([0.35, 0.88, 0.40])


@dataclass(frozen=True, kw_only=True)
class DriverRecipe:
    """A share of the episodes and how they are driven; values are drawn from ranges per episode."""

    name: str
    share: float
    noise: tuple[float, ...] = (0.0,)  # std of coloured action noise, one drawn per episode
    displaced: tuple[float, float] = (0.0, 0.0)  # metres between the object and the target
    slowed: tuple[float, float] = (1.0, 1.0)  # factor on the commanded motion
    interrupted: bool = False  # play interrupts the expert at a random time
    play: bool = False  # waypoints around the object, no task

    RETIRED: ClassVar = retired("0.1", resumed=RESUMED)


class Driver:
    """One episode's controller: `act` gives the next simulator step's action, in [-1, 1]."""

    def __init__(self, recipe: DriverRecipe, env: MetaWorld, *, rng: Generator, steps: int) -> None:
        self._env, self._rng, self._recipe = env, rng, recipe
        self._expert = _expert(env.task)
        self._noise = float(rng.choice(recipe.noise))
        self._coloured = np.zeros(RAW_ACTION_DIM)
        self._slow = float(rng.uniform(*recipe.slowed))
        self._offset = _direction(rng) * rng.uniform(*recipe.displaced)
        begin = int(rng.uniform(0.1, 0.6) * steps)
        length = int(rng.uniform(0.1, 0.4) * steps) if rng.random() < RESUMED else steps
        self._break = range(begin, begin + length) if recipe.interrupted else range(0)
        self._waypoint = env.raw[:3].copy()
        self._grip = 0.0
        self._step = self._arrival = 0

    def act(self) -> Float32[Array, " 4"]:
        playing = self._recipe.play or self._step in self._break
        action = self._play() if playing else self._expertly()
        self._step += 1
        action[:3] *= self._slow
        # Coloured noise (an AR(1) process) pushes the gripper off course; white noise averages out.
        self._coloured = 0.9 * self._coloured + 0.436 * self._rng.normal(size=RAW_ACTION_DIM)
        return np.clip(action + self._noise * self._coloured, -1, 1).astype(np.float32)

    def _expertly(self) -> Array:
        raw = self._env.raw.astype(np.float64)
        raw[OBJECT] += self._offset
        return np.clip(np.asarray(self._expert.get_action(raw), np.float64), -1, 1)

    def _play(self) -> Array:
        hand = self._env.raw[:3]
        if self._step >= self._arrival or np.linalg.norm(self._waypoint - hand) < 0.02:
            near = self._env.raw[OBJECT] + self._rng.normal(0, 0.07, 3)
            anywhere = self._rng.uniform(HAND_LOW, HAND_HIGH)
            chosen = near if self._rng.random() < 0.75 else anywhere
            self._waypoint = np.clip(chosen, HAND_LOW, HAND_HIGH)
            self._arrival = self._step + int(self._rng.integers(10, 35))
            self._grip = float(self._rng.choice([-1.0, 0.0, 1.0]))
        move = np.clip(10.0 * (self._waypoint - hand), -1, 1)
        return np.append(move, self._grip)


def _expert(task: str):
    from metaworld.policies import ENV_POLICY_MAP

    if task not in ENV_POLICY_MAP:
        raise UserError(f"Meta-World has no scripted expert for '{task}'.")
    return ENV_POLICY_MAP[task]()


def _direction(rng: Generator) -> Array:
    vector = rng.normal(size=3) * np.array([1.0, 1.0, 0.6])
    return vector / np.linalg.norm(vector)
