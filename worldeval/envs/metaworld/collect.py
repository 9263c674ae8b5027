"""Collect episodes in parallel processes, shard by shard; an interrupted collection resumes.

An episode in which the simulator hangs or dies is run again in another process.
"""

import multiprocessing as mp
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.data.formats.shards.layout import ShardEpisode, write_shard
from worldeval.envs.apart import Apart, redone
from worldeval.envs.metaworld.drivers import Driver, DriverRecipe
from worldeval.envs.metaworld.env import MetaWorld
from worldeval.envs.metaworld.recipe import CollectRecipe
from worldeval.record import Episode

Progress = Callable[[int, int], None]  # completed shards, all shards


@dataclass(frozen=True, kw_only=True)
class _Job:
    path: Path
    task: str
    numbers: range  # episode numbers of the task
    recipe: CollectRecipe
    seed: int


def collect(
    recipe: CollectRecipe, out: Path, *, seed: int, jobs: int, progress: Progress | None = None
) -> int:
    """Collect every missing shard of `recipe` into `out`; returns how many were collected now."""
    planned = [
        _Job(
            path=out / f"{task}-{begin:05d}.h5",
            task=task,
            numbers=range(begin, min(begin + recipe.shard, recipe.episodes)),
            recipe=recipe,
            seed=seed,
        )
        for begin in range(0, recipe.episodes, recipe.shard)
        for task in recipe.tasks
    ]
    missing = [job for job in planned if not job.path.exists()]
    context = mp.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(_collect_shard, job) for job in missing]
        for done, future in enumerate(as_completed(futures), start=len(planned) - len(missing) + 1):
            future.result()
            if progress:
                progress(done, len(planned))
    return len(missing)


def drive(
    env: MetaWorld, driver_recipe: DriverRecipe, recipe: CollectRecipe, *, seed: int, number: int
) -> ShardEpisode:
    """Drive one episode. `number` sets the start and, with `seed`, the driver's random draws."""
    reset_seed = recipe.first_seed + number
    rng = np.random.default_rng([seed, number, _stable(env.task)])
    frame = env.reset(reset_seed)
    driver = Driver(driver_recipe, env, rng=rng, steps=recipe.horizon * recipe.k)
    seen, actions, flags, last = [frame], [], [False], recipe.horizon
    while len(seen) <= last:
        action = []
        success = False
        for _ in range(recipe.k):
            action.append(driver.act())
            success |= env.advance(action[-1])
        seen.append(env.frame(success=success))
        actions.append(np.concatenate(action))
        if success and not any(flags):
            last = max(last, len(flags) + recipe.after_success)
        flags.append(success)
    episode = Episode(
        id=f"{env.task}-{seed}-{number}",
        frames={view: np.stack([frame.frames[view] for frame in seen]) for view in env.views},
        actions=np.stack([*actions, np.zeros_like(actions[0])]),
        pose=np.stack([frame.pose for frame in seen]),
        task=env.task,
        success=any(flags),
        fps=env.fps,
        source=driver_recipe.name,
    )
    return ShardEpisode(episode=episode, flags=np.array(flags, np.uint8), seed=reset_seed)


class DrivenTask:
    """A task with its scripted drivers; `Apart` runs it in a process of its own."""

    facts = None

    def __init__(self, task: str, recipe: CollectRecipe, seed: int) -> None:
        self._env = MetaWorld(task, size=recipe.size, k=recipe.k)
        self._task, self._recipe, self._seed = task, recipe, seed

    def episode(self, number: int) -> ShardEpisode:
        """Drive one episode by a driver that is drawn by the recipe's shares."""
        drivers = self._recipe.drivers
        rng = np.random.default_rng([self._seed, number, _stable(self._task), 1])
        choice = rng.choice(len(drivers), p=[driver.share for driver in drivers])
        return drive(self._env, drivers[choice], self._recipe, seed=self._seed, number=number)

    def close(self) -> None:
        self._env.close()


def _collect_shard(job: _Job, make: Callable[..., Any] = DrivenTask) -> None:
    # A second renderer in the same process would show garbage, and one may hang or crash.
    driven = Apart(make, (job.task, job.recipe, job.seed), what=f"The simulator of {job.task}")
    try:
        items = [
            redone(driven, partial(driven.ask, "episode", number), f"episode {number}")
            for number in job.numbers
        ]
    finally:
        driven.close()
    write_shard(job.path, items)


def _stable(task: str) -> int:
    """Hash a name to the same number in every process, unlike `hash`."""
    return zlib.crc32(task.encode())
