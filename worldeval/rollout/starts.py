# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
"""Starts: the moments from which every policy is tried, paired across policies.

They come from the simulator's seeded resets or from a file. A file also keeps what was recorded
after a start (actions, poses, outcome), so that recorded failures can be replayed in imagination.
"""

import multiprocessing as mp
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from worldeval.axes import Array, Float32, Int
from worldeval.data.formats.shards.layout import TEXT
from worldeval.data.table import RecordedEpisodes
from worldeval.envs.address import open_environment
from worldeval.errors import UserError
from worldeval.record import Start
from worldeval.rollout.recipe import TruthRecipe
from worldeval.run import whole_file


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A start with what really happened after it."""

    start: Start
    actions: Float32[Array, "t a"]
    pose: Float32[Array, "t+1 p"]
    success: bool
    near_miss: bool  # meant to fail by little: an expert that aimed centimetres off
    source: str


def simulated_starts(
    tasks: Sequence[str], seeds: Sequence[int], truth: TruthRecipe, *, jobs: int
) -> list[Start]:
    """The simulator's first frames for every task and seed."""
    make = partial(_task_starts, seeds=tuple(seeds), truth=truth)
    context = mp.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        return [start for starts in pool.map(make, tasks) for start in starts]


def recordings(
    recorded: RecordedEpisodes, episodes: Int[Array, " e"], horizon: int
) -> list[Recording]:
    """Recorded episodes, cut to `horizon` world frames."""
    out = []
    for index in episodes:
        row, rows = recorded.episodes.loc[int(index)], recorded.rows(int(index))
        last = min(rows.start + horizon, rows.stop - 1)
        first = np.array([rows.start])
        start = Start(
            id=row["id"],
            task=row["task"],
            seed=int(row["seed"]),
            frames={view: recorded.frames(view, first)[0] for view in recorded.views},
            pose=recorded.pose[rows.start],
        )
        out.append(
            Recording(
                start=start,
                actions=recorded.actions[rows.start : last],
                pose=recorded.pose[rows.start : last + 1],
                success=bool(recorded.flags[rows.start : last + 1].any()),
                near_miss="near-miss" in row["source"],
                source=row["source"],
            )
        )
    return out


def write_starts(path: Path, starts: Sequence[Start]) -> None:
    """Starts to one compressed file."""
    with whole_file(path) as draft, h5py.File(draft, "w") as file:
        _write_starts(file, starts)


def read_starts(path: Path) -> list[Start]:
    """Starts from a file of starts or of recordings."""
    with _open(path) as file:
        return _read_starts(file)


def write_recordings(path: Path, items: Sequence[Recording]) -> None:
    """Recordings to one compressed file."""
    with whole_file(path) as draft, h5py.File(draft, "w") as file:
        _write_starts(file, [item.start for item in items])
        file["length"] = np.array([len(item.actions) for item in items], np.int32)
        file["success"] = np.array([item.success for item in items], np.int8)
        file["near_miss"] = np.array([item.near_miss for item in items], np.int8)
        file["source"] = np.array([item.source for item in items], TEXT)
        for key in ("actions", "pose"):
            rows = np.concatenate([getattr(item, key) for item in items]).astype(np.float32)
            file.create_dataset(f"recorded/{key}", data=rows, compression="gzip")


def read_recordings(path: Path) -> list[Recording]:
    """Recordings from their file."""
    with _open(path) as file:
        if "recorded" not in file:
            raise UserError(f"{path} holds starts without recorded actions; it cannot be replayed.")
        starts, length = _read_starts(file), file["length"][:]
        ends = np.cumsum(length)
        actions = np.split(file["recorded/actions"][:], ends[:-1])
        pose = np.split(file["recorded/pose"][:], np.cumsum(length + 1)[:-1])
        success, near = file["success"][:], file["near_miss"][:]
        source = file["source"].asstr()[:]
    return [
        Recording(
            start=start,
            actions=actions[i],
            pose=pose[i],
            success=bool(success[i]),
            near_miss=bool(near[i]),
            source=str(source[i]),
        )
        for i, start in enumerate(starts)
    ]


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path)
    except FileNotFoundError as error:
        raise UserError(f"There is no file of starts {path}.") from error
    except OSError as error:
        raise UserError(f"{path} is not a readable HDF5 file of starts: {error}") from error


def _write_starts(file: h5py.File, starts: Sequence[Start]) -> None:
    file["id"] = np.array([start.id for start in starts], TEXT)
    file["task"] = np.array([start.task for start in starts], TEXT)
    file["seed"] = np.array([start.seed for start in starts], np.int64)
    file["pose"] = np.stack([start.pose for start in starts])
    for view in starts[0].frames:
        frames = np.stack([start.frames[view] for start in starts])
        # Fixed cameras show nearly the same picture: compressed together, they take little room.
        file.create_dataset(
            f"frames/{view}", data=frames, chunks=frames.shape, compression="gzip", shuffle=True
        )


def _read_starts(file: h5py.File) -> list[Start]:
    frames = {view: file["frames"][view][:] for view in file["frames"]}
    ids, tasks = file["id"].asstr()[:], file["task"].asstr()[:]
    seeds, pose = file["seed"][:], file["pose"][:]
    return [
        Start(
            id=str(ids[i]),
            task=str(tasks[i]),
            seed=int(seeds[i]),
            frames={view: frames[view][i] for view in frames},
            pose=pose[i],
        )
        for i in range(len(ids))
    ]


def _task_starts(task: str, *, seeds: tuple[int, ...], truth: TruthRecipe) -> list[Start]:
    env = open_environment(truth.env, task=task, size=truth.size, steps_per_frame=truth.k)
    out = []
    for seed in seeds:
        frame = env.reset(seed)
        out.append(
            Start(id=f"{task}-{seed}", task=task, seed=seed, frames=frame.frames, pose=frame.pose)
        )
    env.close()
    return out
