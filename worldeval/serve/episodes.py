"""The core of an environment: episodes in a world model that begin, step, render and are judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, Int
from worldeval.errors import UserError
from worldeval.record import Rollout, Start, Verdict
from worldeval.rollout.actions import clip
from worldeval.serve.description import StepObservation, WorldDescription
from worldeval.world.protocol import WorldModel, WorldSpec

Judging = Callable[[Sequence[Rollout]], list[Verdict]]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The parts of an environment."""

    world: WorldModel
    starts: Sequence[Start]
    horizon: int  # world frames per episode
    judge: Judging | None = None


class ServedEpisodes:
    """A batch of episodes in a world model."""

    def __init__(self, setting: Setting, *, episodes: int = 64) -> None:
        self._setting, self._world = setting, setting.world
        spec = self._world.spec
        unknown = {start.task for start in setting.starts if not spec.knows(start.task)}
        if unknown or not setting.starts:
            found = f"of '{sorted(unknown)[0]}'" if unknown else "none"
            raise UserError(
                f"The world model needs starts of {', '.join(spec.tasks)}; got {found}."
            )
        self.place = _place(spec, setting, episodes)
        self._chosen: list[Start] = []
        self._seeds: list[int] = []
        self._state: Any = None
        self._latents: list[Array] = []
        self._poses: list[Array] = []
        self._actions: list[Array] = []

    def begin(self, starts: Sequence[int], seeds: Sequence[int]) -> StepObservation:
        """Begin episodes at the starts with these numbers; `seeds` determine their randomness.

        Raises:
            UserError: no start has such a number, or there are more episodes than allowed.
        """
        if not 1 <= len(starts) <= self.place.episodes or len(starts) != len(seeds):
            raise UserError(
                f"Got {len(starts)} starts and {len(seeds)} seeds; expected the same number of "
                f"both, 1 to {self.place.episodes}."
            )
        wrong = [number for number in starts if not 0 <= number < self.place.starts]
        if wrong:
            raise UserError(
                f"There is no start {wrong[0]}; starts are numbered 0 to {self.place.starts - 1}."
            )
        self._chosen = [self._setting.starts[number] for number in starts]
        self._seeds = [int(seed) for seed in seeds]
        frames = {
            view: np.stack([start.frames[view] for start in self._chosen])
            for view in self.place.views
        }
        pose = np.stack([start.pose for start in self._chosen]).astype(np.float32)
        tasks = [start.task for start in self._chosen]
        self._state = self._world.begin(frames, pose, tasks, self._seeds)
        self._latents, self._poses, self._actions = [], [], []
        return self._see(np.zeros(len(starts), np.int64))

    def step(self, actions: Float32[Array, "b a"]) -> StepObservation:
        """Advance by one world frame. Actions are clipped to the world's range (NaN to 0), counted.

        Raises:
            UserError: the actions have another shape, or no episode is in progress.
        """
        wanted = (len(self._chosen), self.place.action_dim)
        if self._state is None:
            raise UserError("No episode has started; call reset first.")
        if actions.shape != wanted:
            raise UserError(f"Got actions of shape {actions.shape}; expected {wanted}.")
        if len(self._actions) >= self.place.horizon:
            raise UserError(
                f"The episodes ended after {self.place.horizon} world frames; call reset."
            )
        spec = self._world.spec
        clipped = clip(np.asarray(actions, np.float32), spec.low, spec.high)
        self._state = self._world.step(self._state, clipped.actions)
        self._actions.append(clipped.actions)
        return self._see(clipped.count)

    def _see(self, mended: Int[Array, " b"]) -> StepObservation:
        latents, pose = self._world.latents(self._state), self._world.pose(self._state)
        self._latents.append(latents.astype(np.float16))
        self._poses.append(np.array(pose))
        tasks = [start.task for start in self._chosen]
        frames = self._world.render(latents, tasks)
        return StepObservation(
            frames={view: frames[view] for view in self.place.views},
            pose=np.array(pose, np.float32),
            probability=self._judged(),
            mended=mended,
            step=len(self._actions),
        )

    def _judged(self) -> Float32[Array, " b"]:
        if self._setting.judge is None or not self._actions:
            unknown = np.nan if self._setting.judge is None else 0.0
            return np.full(len(self._chosen), unknown, np.float32)
        latents, poses, actions = (
            np.stack(part, 1) for part in (self._latents, self._poses, self._actions)
        )
        rollouts = [
            Rollout(
                start=start.id,
                task=start.task,
                policy="",
                seed=seed,
                actions=actions[row],
                pose=poses[row],
                latents=latents[row],
            )
            for row, (start, seed) in enumerate(zip(self._chosen, self._seeds, strict=True))
        ]
        verdicts = self._setting.judge(rollouts)
        return np.array([verdict.probability for verdict in verdicts], np.float32)


def _place(spec: WorldSpec, setting: Setting, episodes: int) -> WorldDescription:
    # If the world accepts every task, list those of the starts.
    tasks = tuple(dict.fromkeys(start.task for start in setting.starts))
    tasks = spec.tasks if all(task in spec.tasks for task in tasks) else tasks
    return WorldDescription(
        views=spec.views,
        size=spec.size,
        action_dim=spec.action_dim,
        pose_dim=spec.pose_dim,
        tasks=tasks,
        fps=spec.fps,
        horizon=setting.horizon,
        start_tasks=np.array([tasks.index(start.task) for start in setting.starts]),
        episodes=episodes,
        space=spec.space,
        action_low=spec.action_low,
        action_high=spec.action_high,
    )
