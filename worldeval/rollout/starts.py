# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
"""Starts: the initial states of every policy's episodes, paired across policies.

They come from the simulator's seeded resets or from a file. A file may also hold what was recorded
after a start (actions, poses, outcome), so that recorded failures can be replayed in imagination.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from worldeval.axes import Array, Float32, Int, UInt8
from worldeval.data.adapt import resized
from worldeval.data.finding import DataError
from worldeval.data.formats import hdf5
from worldeval.data.formats.shards.layout import TEXT
from worldeval.data.table import RecordedEpisodes
from worldeval.envs.apart import ApartEnvironment, redone
from worldeval.errors import UserError
from worldeval.record import Start
from worldeval.rollout.pool import short_lived
from worldeval.rollout.recipe import TruthRecipe
from worldeval.sealed_hdf5 import whole_hdf5
from worldeval.world.protocol import WorldSpec


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A start with what was recorded after it."""

    start: Start
    actions: Float32[Array, "t a"]
    pose: Float32[Array, "t+1 p"]
    success: bool
    near_miss: bool  # a failure by a small margin: an expert that aimed centimetres off
    source: str


def simulated_starts(
    tasks: Sequence[str], seeds: Sequence[int], truth: TruthRecipe, *, jobs: int
) -> list[Start]:
    """Return the simulator's first frames for every task and seed."""
    make = partial(_task_starts, seeds=tuple(seeds), truth=truth)
    with short_lived(jobs) as pool:
        return [start for starts in pool.map(make, tasks) for start in starts]


def simulated_id(task: str, seed: int) -> str:
    """Name of the start that the simulator makes with `seed`."""
    return f"{task}-{seed}"


def sized(starts: Sequence[Start], world: WorldSpec) -> list[Start]:
    """Resize the world model's views to its size, as its training data were."""
    return [
        replace(
            start,
            frames={
                view: resized(frame[None], world.size)[0] if view in world.views else frame
                for view, frame in start.frames.items()
            },
        )
        for start in starts
    ]


def recordings(
    recorded: RecordedEpisodes, episodes: Int[Array, " e"], horizon: int
) -> list[Recording]:
    """Cut recorded episodes to `horizon` world frames."""
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
    """Write starts to one compressed file."""
    with whole_hdf5(path) as file:
        _write_starts(file, starts)


def read_starts(path: Path) -> list[Start]:
    """Read starts from a file of starts or recordings.

    Raises:
        UserError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return _read_starts(file, path)


def write_recordings(path: Path, items: Sequence[Recording]) -> None:
    """Write recordings to one compressed file."""
    with whole_hdf5(path) as file:
        _write_starts(file, [item.start for item in items])
        file["length"] = np.array([len(item.actions) for item in items], np.int32)
        file["success"] = np.array([item.success for item in items], np.int8)
        file["near_miss"] = np.array([item.near_miss for item in items], np.int8)
        file["source"] = np.array([item.source for item in items], TEXT)
        for key in ("actions", "pose"):
            rows = np.concatenate([getattr(item, key) for item in items]).astype(np.float32)
            file.create_dataset(f"recorded/{key}", data=rows, compression="gzip")


def read_recordings(path: Path) -> list[Recording]:
    """Read recordings from their file.

    Raises:
        UserError: the file is missing, damaged, or holds only starts.
    """
    with _opened(path) as file:
        if "recorded" not in file:
            raise UserError(
                f"{path} contains starts without recorded actions, so they cannot be replayed."
            )
        starts, recorded = _read_starts(file, path), hdf5.group(file, "recorded", path)
        whole = ("length", "success", "near_miss")
        length, success, near = (_numbers(file, name, path, len(starts)) for name in whole)
        source = _texts(file, "source", path, len(starts))
        actions, pose = (hdf5.table(recorded, name, path) for name in ("actions", "pose"))
    if (length < 0).any() or len(actions) != length.sum() or len(pose) != (length + 1).sum():
        raise DataError(
            path,
            "length",
            f"its recordings have {length.sum()} steps, but there are {len(actions)} actions and "
            f"{len(pose)} poses.",
        )
    acted = np.split(actions, np.cumsum(length)[:-1])
    stood = np.split(pose, np.cumsum(length + 1)[:-1])
    return [
        Recording(
            start=start,
            actions=acted[i],
            pose=stood[i],
            success=bool(success[i]),
            near_miss=bool(near[i]),
            source=source[i],
        )
        for i, start in enumerate(starts)
    ]


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    if not path.exists():
        raise UserError(f"There is no file of starts {path}.")
    with hdf5.opened(path) as file:
        yield file


def _write_starts(file: h5py.File, starts: Sequence[Start]) -> None:
    for start in starts:
        if not np.isfinite(start.pose).all():
            raise UserError(f"The pose of start '{start.id}' is not finite: {start.pose.tolist()}.")
    file["id"] = np.array([start.id for start in starts], TEXT)
    file["task"] = np.array([start.task for start in starts], TEXT)
    file["seed"] = np.array([start.seed for start in starts], np.int64)
    file["pose"] = np.stack([start.pose for start in starts])
    for view in starts[0].frames:
        frames = np.stack([start.frames[view] for start in starts])
        # Fixed cameras show nearly the same image, so joint compression saves most of the space.
        file.create_dataset(
            f"frames/{view}", data=frames, chunks=frames.shape, compression="gzip", shuffle=True
        )


def _read_starts(file: h5py.File, path: Path) -> list[Start]:
    ids = _texts(file, "id", path)
    tasks, seeds = _texts(file, "task", path, len(ids)), _numbers(file, "seed", path, len(ids))
    pose, views = hdf5.table(file, "pose", path), hdf5.group(file, "frames", path)
    frames = {str(view): _pictures(views, str(view), path) for view in views}
    for name, column in {"pose": pose, **frames}.items():
        if len(column) != len(ids):
            raise DataError(path, name, f"there are {len(column)} rows for {len(ids)} starts.")
    return [
        Start(
            id=ids[i],
            task=tasks[i],
            seed=int(seeds[i]),
            frames={view: frames[view][i] for view in frames},
            pose=pose[i],
        )
        for i in range(len(ids))
    ]


def _texts(file: h5py.Group, name: str, path: Path, count: int | None = None) -> list[str]:
    values = hdf5.texts(file, name, path)
    _fits(values, name, path, count)
    return values


def _numbers(file: h5py.Group, name: str, path: Path, count: int) -> Int[Array, " n"]:
    values = hdf5.whole_numbers(file, name, path)
    _fits(values, name, path, count)
    return values


def _fits(values: Sequence[Any] | Array, name: str, path: Path, count: int | None) -> None:
    if count is not None and len(values) != count:
        raise DataError(path, name, f"it has {len(values)} entries for {count} starts.")


def _pictures(views: h5py.Group, view: str, path: Path) -> UInt8[Array, "n h w 3"]:
    found = hdf5.dataset(views, view, path)
    if not hdf5.is_images(found):
        raise DataError(
            path, str(found.name), f"it is {found.dtype} {found.shape}, not frames (n, h, w, 3)."
        )
    return hdf5.whole(found, path)


def _task_starts(task: str, *, seeds: tuple[int, ...], truth: TruthRecipe) -> list[Start]:
    env = ApartEnvironment(truth.env, task=task, size=truth.size, steps_per_frame=truth.k)
    out = []
    with closing(env):
        for seed in seeds:
            frame = redone(env, partial(env.reset, seed), f"task '{task}', seed {seed}")
            if not np.isfinite(frame.pose).all():
                raise UserError(
                    f"The simulator's start of task '{task}', seed {seed}, has a pose that is not "
                    f"finite ({frame.pose.tolist()}). Correct the simulator, or choose other seeds."
                )
            out.append(
                Start(
                    id=simulated_id(task, seed),
                    task=task,
                    seed=seed,
                    frames=frame.frames,
                    pose=frame.pose,
                )
            )
    return out
