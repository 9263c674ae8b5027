# pandas types a cell as anything that a table may hold.
# pyright: reportCallIssue=false
"""Roll-outs worth looking at, imagined and simulated from the same start."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.axes import Array
from worldeval.data.shards import Shards
from worldeval.evaluate.truth import load_one
from worldeval.imagine.recipe import ProtocolRecipe
from worldeval.imagine.simulate import TruthJob, record
from worldeval.imagine.store import RolloutStore
from worldeval.world.world import World


def choose(imagined: pd.DataFrame, truth: pd.DataFrame | None, *, count: int) -> pd.DataFrame:
    """A clear success, a clear failure and the worst disagreements both ways, by turns of task."""
    table = imagined
    if truth is not None:
        table = imagined.merge(truth[["policy", "start", "success"]], on=["policy", "start"])
        table = table.assign(error=table["score"] - table["success"])
        right = table[table["error"].abs() < 0.3]
        queues = [
            right.sort_values("score", ascending=False),
            table.sort_values("error", ascending=False),
            right.sort_values("score"),
            table.sort_values("error"),
        ]
    else:
        queues = [table.sort_values("score", ascending=False), table.sort_values("score")]
    chosen, used = [], set()
    tasks = list(dict.fromkeys(table["task"]))
    for turn in range(count):
        queue = queues[turn % len(queues)]
        queue = queue[queue["task"] == tasks[turn % len(tasks)]]
        row = next((row for row in queue.to_dict("records") if row["start"] not in used), None)
        if row is not None:
            used.add(row["start"])
            chosen.append(row)
    return pd.DataFrame(chosen)


def imagined_frames(store: RolloutStore, world: World, policy: str, start: str) -> dict[str, Array]:
    """Every frame of an imagined roll-out, per view."""
    rollout, _ = store.find(policy=policy, start=start)
    latents = np.asarray(rollout.latents, np.float32)
    return world.render(latents, [rollout.task] * len(latents))


def simulated_frames(
    recipe: ProtocolRecipe, chosen: Sequence[tuple[str, str, int]], *, processes: int
) -> dict[tuple[str, int], dict[str, Array]]:
    """Every frame of (ref, task, seed) in the simulator, by (ref, seed)."""
    assert recipe.truth is not None
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs = []
        for number, (ref, task, seed) in enumerate(chosen):
            job = TruthJob(task=task, episodes=((ref, seed),), load=load_one)
            jobs.append((job, Path(folder) / f"film-{number}.h5"))
        record(
            jobs,
            recipe.truth,
            horizon=recipe.horizon,
            replan_every=recipe.replan_every,
            after_success=0,
            processes=processes,
        )
        for (_, path), (ref, _, seed) in zip(jobs, chosen, strict=True):
            part = path.parent / path.stem
            part.mkdir()
            path.rename(part / path.name)
            frames = dict(Shards(part).episode(0).frames)
            out[ref, seed] = {view: np.array(images) for view, images in frames.items()}
    return out
