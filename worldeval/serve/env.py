"""The world model as gymnasium environments: one episode, or many that advance as one batch.

Observations are {"pixels": {view: uint8 (h w 3)}, "agent_pos": float32 (p)}, as in LeRobot's
environments. `info` has `is_success`, `success_probability`, `task_description` and
`mended_actions` and, at an episode's last step, `final_info` with the same. The reward is 1 at the
step where the judge first predicts success, else 0; without a judge it is always 0. Episodes are
truncated at the horizon and never terminated. All returned arrays are copies.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from worldeval.axes import Array
from worldeval.errors import UserError
from worldeval.serve.description import Backend, StepObservation, WorldDescription

REACH = 100.0  # bound of proprioception, in metres and radians: far beyond any robot


class WorldVectorEnv(VectorEnv):
    """`num_envs` episodes in a world model, imagined together as one batch.

    All of them last until the horizon; the step after it begins new ones (gymnasium's NEXT_STEP),
    from starts drawn with the seeds, one per episode as in gymnasium (`seed + i` for a single one).
    `reset(options={"starts": [...]})` selects the starts instead, and `"seeds"` the seeds of the
    episodes' random numbers. `envs` and `call` exist for code that expects a `SyncVectorEnv`.
    """

    def __init__(self, backend: Backend, *, num_envs: int = 1) -> None:
        place = backend.place
        if not 1 <= num_envs <= place.episodes:
            raise UserError(f"num_envs is {num_envs}; it must be 1 to {place.episodes}.")
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
        self._draws = [np.random.default_rng() for _ in range(num_envs)]
        self.envs = [EpisodeView(self, row) for row in range(num_envs)]

    @property
    def task_description(self) -> tuple[str, ...]:
        """The task of every episode."""
        return self._tasks

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return every episode's attribute of that name, or its result if it is callable."""
        return tuple(
            found(*args, **kwargs) if callable(found) else found
            for found in (getattr(env, name) for env in self.envs)
        )

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of every episode."""
        return tuple(getattr(env, name) for env in self.envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin new episodes in the whole batch."""
        for row, own in enumerate(_seeds(seed, self.num_envs)):
            if own is not None:
                self._draws[row] = np.random.default_rng(own)
        if isinstance(seed, int):
            super().reset(seed=seed)
        options = dict(options or {})
        drawn = [rng.integers(self._place.starts) for rng in self._draws]
        seeds = [rng.integers(2**31) for rng in self._draws]
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
        """Advance every episode by one world frame."""
        nothing = np.zeros(self.num_envs, bool)
        if self._seen is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        if self._seen.step >= self._place.horizon:
            observation, info = self.reset()
            return observation, nothing.astype(np.float64), nothing, nothing.copy(), info
        self._seen = seen = self._backend.step(np.array(actions, np.float32))
        reward = (seen.success & ~self._won).astype(np.float64)
        self._won |= seen.success
        ended = np.full(self.num_envs, seen.step >= self._place.horizon)
        info = self._info(seen)
        if ended.any():
            info |= {"final_info": self._info(seen), "_final_info": ended.copy()}
        return _observed(seen), reward, nothing, ended, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Render every episode's views side by side."""
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


class EpisodeView:
    """One episode of a batch, for reading; all episodes advance together."""

    def __init__(self, batch: WorldVectorEnv, row: int) -> None:
        self._batch, self._row = batch, row
        self.metadata, self.render_mode = batch.metadata, batch.render_mode
        self.observation_space = batch.single_observation_space
        self.action_space = batch.single_action_space
        self._max_episode_steps = batch._place.horizon

    @property
    def unwrapped(self) -> "EpisodeView":
        return self

    @property
    def task_description(self) -> str:
        """The task of the episode."""
        return self._batch.task_description[self._row] if self._batch.task_description else ""

    @property
    def task(self) -> str:
        """An alias of `task_description`."""
        return self.task_description

    def render(self) -> np.ndarray | None:
        """Render the episode's views side by side."""
        pictures = self._batch.render()
        return None if pictures is None else pictures[self._row]

    def close(self) -> None:
        """Do nothing: only the whole batch can be closed."""


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
        """The task of the episode; "" before the first reset."""
        return self._one.envs[0].task_description

    @property
    def task(self) -> str:
        """An alias of `task_description`."""
        return self.task_description

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin a new episode; `options={"start": number}` selects the start."""
        super().reset(seed=seed)
        options = dict(options or {})
        if "start" in options:
            options["starts"] = [options.pop("start")]
        observation, info = self._one.reset(seed=seed, options=options)
        return _first(observation), _first_info(info)

    def step(self, action: Array) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Advance by one world frame."""
        observation, reward, ended, cut, info = self._one.step(np.asarray(action)[None])
        return (
            _first(observation),
            float(reward[0]),
            bool(ended[0]),
            bool(cut[0]),
            _first_info(info),
        )

    def render(self) -> Any:
        """Render the episode's views side by side."""
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
    skipped = ("final_info", "_final_info")  # of vectors: here the last step's info is the last
    own = {key: value for key, value in info.items() if key not in skipped}
    plain = {key: value[0] for key, value in own.items() if not key.startswith("_")}
    return plain | {"is_success": bool(plain["is_success"])}


def _seeds(seed: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    """Expand to one seed per episode."""
    if seed is None or isinstance(seed, int | np.integer):
        return [None if seed is None else int(seed) + row for row in range(count)]
    if len(seed) != count:
        raise UserError(f"{len(seed)} seeds for {count} envs.")
    return [None if own is None else int(own) for own in seed]
