"""A track on which two policies part at a known moment: the hand moves along x, and nothing errs.

An episode succeeds if the hand ends at or beyond `GOAL`: a policy that always goes forward does,
one that stands still for a chunk does not. What has been missed cannot be made up for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from worldeval.envs.protocol import EnvFrame
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation, Rollout, Start, Verdict
from worldeval.world.protocol import WorldSpec

HORIZON, CHUNK = 12, 2
STEP = 0.1
GOAL = HORIZON * STEP - 0.05
SIZE = 8


@dataclass
class TrackWorld:
    """The pose is x, and so is the only latent cell. Its states can be branched."""

    noise: float = 0.0  # standard deviation of what every step adds
    steps: int = 0  # rows times frames that were imagined

    @property
    def spec(self) -> WorldSpec:
        return WorldSpec(
            views=("side",),
            size=(SIZE, SIZE),
            latent=(1, 1, 1),
            action_dim=1,
            pose_dim=1,
            tasks=("go",),
            fps=10.0,
        )

    def begin(self, frames, pose, tasks, seeds) -> Any:
        return np.asarray(pose, np.float32), tuple(np.random.default_rng(seed) for seed in seeds)

    def step(self, state, actions) -> Any:
        x, rngs = state
        self.steps += len(x)
        drawn = np.array([rng.standard_normal(1) for rng in rngs], np.float32)
        return x + STEP * actions + self.noise * drawn, rngs

    def latents(self, state) -> np.ndarray:
        return state[0].reshape(-1, 1, 1, 1, 1).astype(np.float32)

    def pose(self, state) -> np.ndarray:
        return state[0].astype(np.float32)

    def render(self, latents, tasks) -> dict[str, np.ndarray]:
        x = latents.reshape(len(latents))
        level = np.clip(np.nan_to_num(x) * 100, 0, 255).astype(np.uint8)
        return {"side": np.broadcast_to(level[:, None, None, None], (len(x), SIZE, SIZE, 3)).copy()}

    def branch(self, state, rows) -> Any:
        copies = []
        for row in rows:
            rng = np.random.default_rng()
            rng.bit_generator.state = state[1][row].bit_generator.state
            copies.append(rng)
        return state[0][rows], tuple(copies)

    def observe(self, state, frames, pose, tasks) -> Any:
        return np.asarray(pose, np.float32), state[1]


@dataclass
class Driver:
    """Goes forward, except in the frames of `stops`; counts its calls, as a policy with state."""

    name: str
    stops: Sequence[int] = ()
    chunk: int = CHUNK
    replan: int | None = None
    history: int = 1
    frame: int = 0
    windows: list[np.ndarray] = field(default_factory=list)  # poses of every frame it was shown

    @property
    def spec(self) -> PolicySpec:
        return PolicySpec(
            name=self.name,
            lineage=self.name,
            step=0,
            views=("side",),
            action_dim=1,
            chunk=self.chunk,
            replan=self.replan,
            history=self.history,
        )

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        self.frame, self.windows = 0, []

    def act(self, observation: Observation) -> np.ndarray:
        self.windows.append(np.stack([moment.pose for moment in observation.window], 1))
        frames = np.arange(self.frame, self.frame + self.chunk)
        self.frame += self.spec.replans(CHUNK)
        forward = (~np.isin(frames, list(self.stops))).astype(np.float32)
        return np.tile(forward[None, :, None], (len(observation), 1, 1))


class TrackEnv:
    """The same track as a simulator: `./parting.py:TrackEnv`."""

    views = ("side",)
    action_dim = 1
    steps_per_frame = 1
    fps = 10.0

    def __init__(self, *, easier: float = 0.0) -> None:
        self._goal = GOAL - easier  # so much less is enough
        self._x = self._begin = 0.0

    def reset(self, seed: int) -> EnvFrame:
        self._x = self._begin = 0.01 * seed
        return self._frame()

    def step(self, action: np.ndarray, *, look: bool = True) -> EnvFrame:
        self._x += STEP * float(action[0])
        return self._frame()

    def close(self) -> None: ...

    def _frame(self) -> EnvFrame:
        return EnvFrame(
            frames={"side": np.zeros((SIZE, SIZE, 3), np.uint8)},
            pose=np.full(1, self._x, np.float32),
            success=self._x - self._begin >= self._goal,
        )


class TrackJudge:
    """Success where the hand ends at the goal; evidence by frame is how near it has come."""

    name = "track"

    def __init__(self, *, flips: float = 0.0) -> None:
        self._flips = flips  # share of verdicts that are turned around
        self._rng = np.random.default_rng(0)

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        out = []
        for rollout in rollouts:
            probability = 0.9 if rollout.pose[-1, 0] - rollout.pose[0, 0] >= GOAL else 0.1
            if self._rng.random() < self._flips:
                probability = 1 - probability
            out.append(Verdict(probability=probability, step=HORIZON, judge=self.name))
        return out

    def over_time(self, rollouts: Sequence[Rollout]) -> np.ndarray:
        return np.stack([np.clip(r.pose[:, 0] - r.pose[0, 0], 0, 1) for r in rollouts])


def track_starts(count: int) -> list[Start]:
    picture = {"side": np.zeros((SIZE, SIZE, 3), np.uint8)}
    first = Start(id="", task="go", seed=0, frames=picture, pose=np.zeros(1, np.float32))
    return [
        replace(first, id=f"go-{i}", seed=i, pose=np.full(1, 0.01 * i, np.float32))
        for i in range(count)
    ]
