"""The world model as gymnasium environments: one episode, or many that advance as one batch.

Observations are {"pixels": {view: uint8 (h w 3)}, "agent_pos": float32 (p)}, as LeRobot's
environments give them; `info` has `is_success`, `success_probability`, `task_description` and
`mended_actions`. The reward is 1 at the step where the judge first says success, else 0: without a
judge it is always 0. Episodes are truncated at the horizon and never terminated.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from worldeval.axes import Array
from worldeval.errors import UserError
from worldeval.serve.episodes import Backend, StepObservation, WorldDescription

REACH = 100.0  # bound of proprioception, in metres and radians: far beyond any robot


class WorldVectorEnv(VectorEnv):
    """`num_envs` episodes in a world model, imagined together as one batch.

    They all last the horizon; the step after it begins new ones (gymnasium's NEXT_STEP), from
    starts drawn by the seed. `reset(options={"starts": [...]})` names the starts instead, and
    `"seeds"` the seeds of what is random in the episodes.
    """

    def __init__(self, backend: Backend, *, num_envs: int = 1) -> None:
        place = backend.place
        if not 1 <= num_envs <= place.episodes:
            raise UserError(f"num_envs is {num_envs}; 1 to {place.episodes} episodes go together.")
        self._backend, self._place = backend, place
        self.num_envs = num_envs
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": place.fps,
            "autoreset_mode": AutoresetMode.NEXT_STEP,
        }
        self.render_mode = "rgb_array"
        self.single_observation_space = _observations(place)
        self.single_action_space = _actions(place)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._tasks: tuple[str, ...] = ()
        self._seen: StepObservation | None = None
        self._won = np.zeros(num_envs, bool)

    @property
    def task_description(self) -> tuple[str, ...]:
        """The task of every episode."""
        return self._tasks

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin new episodes in all of the batch."""
        super().reset(seed=seed)
        options = dict(options or {})
        drawn = self.np_random.integers(self._place.starts, size=self.num_envs)
        seeds = self.np_random.integers(2**31, size=self.num_envs)
        starts = [int(number) for number in options.get("starts", drawn)]
        seeds = [int(number) for number in options.get("seeds", seeds)]
        if len(starts) != self.num_envs or len(seeds) != self.num_envs:
            raise UserError(
                f"{len(starts)} starts and {len(seeds)} seeds for {self.num_envs} envs."
            )
        self._seen = self._backend.begin(starts, seeds)
        tasks = self._place.tasks
        self._tasks = tuple(tasks[self._place.start_tasks[number]] for number in starts)
        self._won = np.zeros(self.num_envs, bool)
        return _observed(self._seen), self._info(self._seen)

    def step(
        self, actions: Array
    ) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One world frame for every episode."""
        nothing = np.zeros(self.num_envs, bool)
        if self._seen is None:
            raise gymnasium.error.ResetNeeded("reset() comes before step()")
        if self._seen.step >= self._place.horizon:
            observation, info = self.reset()
            return observation, nothing.astype(np.float64), nothing, nothing.copy(), info
        self._seen = seen = self._backend.step(np.asarray(actions, np.float32))
        reward = (seen.success & ~self._won).astype(np.float64)
        self._won |= seen.success
        ended = np.full(self.num_envs, seen.step >= self._place.horizon)
        return _observed(seen), reward, nothing, ended, self._info(seen)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Every episode's views side by side."""
        if self._seen is None:
            return None
        views = [self._seen.frames[view] for view in self._place.views]
        return tuple(np.concatenate(views, axis=2))

    def _info(self, seen: StepObservation) -> dict[str, Any]:
        given = {
            "is_success": seen.success,
            "success_probability": seen.probability.copy(),
            "mended_actions": np.asarray(seen.mended).copy(),
            "task_description": np.array(self._tasks, dtype=object),
        }
        return given | {f"_{key}": np.ones(self.num_envs, bool) for key in given}


class WorldEnv(gymnasium.Env):
    """One episode in a world model."""

    def __init__(self, backend: Backend) -> None:
        self._one = WorldVectorEnv(backend)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": backend.place.fps}
        self.render_mode = "rgb_array"
        self.observation_space = self._one.single_observation_space
        self.action_space = self._one.single_action_space
        self._max_episode_steps = backend.place.horizon

    @property
    def task_description(self) -> str:
        """The task of the episode."""
        return self._one.task_description[0]

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin a new episode; `options={"start": number}` names where."""
        super().reset(seed=seed)
        options = dict(options or {})
        if "start" in options:
            options["starts"] = [options.pop("start")]
        observation, info = self._one.reset(seed=seed, options=options)
        return _first(observation), _first_info(info)

    def step(self, action: Array) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One world frame."""
        observation, reward, ended, cut, info = self._one.step(np.asarray(action)[None])
        return (
            _first(observation),
            float(reward[0]),
            bool(ended[0]),
            bool(cut[0]),
            _first_info(info),
        )

    def render(self) -> Any:
        """The episode's views side by side."""
        pictures = self._one.render()
        return None if pictures is None else pictures[0]


def _observations(place: WorldDescription) -> spaces.Space:
    image = spaces.Box(0, 255, (*place.size, 3), np.uint8)
    pose = spaces.Box(-REACH, REACH, (place.pose_dim,), np.float32)
    pixels = spaces.Dict({view: image for view in place.views})
    return spaces.Dict({"pixels": pixels, "agent_pos": pose})


def _actions(place: WorldDescription) -> spaces.Box:
    low, high = (
        np.broadcast_to(np.array(bound, np.float32), place.action_dim).copy()
        for bound in (place.action_low, place.action_high)
    )
    return spaces.Box(low, high, dtype=np.float32)


def _observed(seen: StepObservation) -> dict[str, Any]:
    pixels = {view: frames.copy() for view, frames in seen.frames.items()}
    return {"pixels": pixels, "agent_pos": np.clip(seen.pose, -REACH, REACH)}


def _first(observation: Mapping[str, Any]) -> dict[str, Any]:
    pixels = {view: frames[0] for view, frames in observation["pixels"].items()}
    return {"pixels": pixels, "agent_pos": observation["agent_pos"][0]}


def _first_info(info: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: value[0] for key, value in info.items() if not key.startswith("_")}
    return plain | {"is_success": bool(plain["is_success"])}
