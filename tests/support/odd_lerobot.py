"""Sound LeRobot datasets whose frames are found by time alone, with a mark in every picture.

Every `make` writes a dataset and returns what must be seen: for each episode, the marks' (episode,
frame) of its rows. `CASES` names all of them. They are written without the readers' or the
writer's help, as LeRobot's own tools and users' scripts leave them.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.marked_frames import SIZE, clip
from tests.support.odd_videos import REORDERED, film, trimmed

VIEW = "observation.images.top"
FPS = 10
SPARE = 200  # the episode that pictures of no episode bear
Seen = list[list[tuple[int, int]]]  # episode -> row -> (episode, frame)


@dataclass(frozen=True, kw_only=True)
class Made:
    """An episode to be listed: its rows' times, and where it begins and ends in the video."""

    times: np.ndarray
    begin: float = 0.0
    end: float | None = None


def write(root: Path, episodes: list[Made], *, version: str = "v3.0", fps: int = FPS) -> None:
    """Everything but the videos."""
    old = not version.startswith("v3")
    place = "chunk-{episode_chunk:03d}/" if old else "chunk-{chunk_index:03d}/"
    name = "episode_{episode_index:06d}" if old else "file-{file_index:03d}"
    vector = {"dtype": "float32", "shape": [2], "names": ["a", "b"]}
    image = {"dtype": "video", "shape": [*SIZE, 3], "names": ["height", "width", "channels"]}
    counter = {"dtype": "int64", "shape": [1], "names": None}
    total = sum(len(made.times) for made in episodes)
    video = "videos/{video_key}/" + place
    if old:
        video = f"videos/{place}{{video_key}}/"
    info = {
        "codebase_version": version,
        "robot_type": "none",
        "total_episodes": len(episodes),
        "total_frames": total,
        "total_tasks": 1,
        "chunks_size": 1000,
        "fps": fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": f"data/{place}{name}.parquet",
        "video_path": f"{video}{name}.mp4",
        "features": {
            VIEW: image,
            "observation.state": vector,
            "action": vector,
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), counter),
        },
    }  # fmt: skip
    if old:
        info |= {"total_chunks": 1, "total_videos": len(episodes)}
    else:
        info |= {"data_files_size_in_mb": 100, "video_files_size_in_mb": 200}
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    tables, index, begun = [], [], 0
    for number, made in enumerate(episodes):
        tables.append(_rows(number, made.times, begun))
        begun += len(made.times)
        index.append(_listed(number, made, begun, fps))
    stats = {"observation.state": _stats(tables), "action": _stats(tables)}
    if old:
        _write_old(root, tables, stats)
    else:
        (root / "data/chunk-000").mkdir(parents=True)
        (root / "meta/episodes/chunk-000").mkdir(parents=True)
        pq.write_table(pa.concat_tables(tables), root / "data/chunk-000/file-000.parquet")
        listed = root / "meta/episodes/chunk-000/file-000.parquet"
        pq.write_table(pa.Table.from_pylist(index), listed)
        tasks = pd.DataFrame({"task_index": [0]}, index=["mark"])
        tasks.to_parquet(root / "meta/tasks.parquet")
        (root / "meta/stats.json").write_text(json.dumps(stats))


def spare_frames_between(root: Path) -> Seen:
    """Six episodes of 100 frames in one file, one frame of nothing after each."""
    write(root, [Made(times=_times(100), begin=10.1 * n, end=10.1 * n + 10) for n in range(6)])
    pictures = [p for n in range(6) for p in (clip(n, 100), clip(SPARE, [n]))]
    film(_v3_video(root), np.concatenate(pictures))
    return [_whole(n, 100) for n in range(6)]


def trimmed_by_metadata(root: Path) -> Seen:
    """Three episodes of which the index leaves out the first five and the last three frames."""
    lengths = (20, 30, 25)
    begins = np.cumsum([0, *lengths[:-1]]) / FPS + 0.5
    episodes = [
        Made(times=_times(length - 8), begin=float(begin), end=float(begin) + (length - 5) / FPS)
        for length, begin in zip(lengths, begins, strict=True)
    ]
    write(root, episodes)
    film(_v3_video(root), np.concatenate([clip(n, length) for n, length in enumerate(lengths)]))
    return [[(n, t) for t in range(5, length - 3)] for n, length in enumerate(lengths)]


def frames_stored_out_of_order(root: Path) -> Seen:
    """Three episodes in one file with B-frames, the middle one begun between key frames."""
    write(root, [Made(times=_times(17), begin=1.7 * n, end=1.7 * n + 1.7) for n in range(3)])
    film(_v3_video(root), np.concatenate([clip(n, 17) for n in range(3)]), options=REORDERED)
    return [_whole(n, 17) for n in range(3)]


def cut_by_an_edit_list(root: Path) -> Seen:
    """The first frames are in the file, but its edit list begins later."""
    write(root, [Made(times=_times(12), begin=1.2 * n, end=1.2 * n + 1.2) for n in range(2)])
    pictures = np.concatenate([clip(SPARE, 6), clip(0, 12), clip(1, 12)])
    whole = film(root / "whole.mp4", pictures)
    _v3_video(root).parent.mkdir(parents=True)
    trimmed(whole, 0.6, _v3_video(root))
    whole.unlink()
    return [_whole(n, 12) for n in range(2)]


def first_rows_cut(root: Path, version: str = "v2.1") -> Seen:
    """The first 15 rows of every episode are gone; times and videos were kept."""
    return _own_videos(root, version, _times(40)[15:], [clip(n, 40) for n in range(2)],
                       list(range(15, 40)))  # fmt: skip


def idle_rows_cut(root: Path, version: str = "v2.1") -> Seen:
    """Rows 10 to 19 are gone from the middle; times and videos were kept."""
    kept = [*range(10), *range(20, 40)]
    return _own_videos(root, version, _times(40)[kept], [clip(n, 40) for n in range(2)], kept)


def filmed_three_times_as_fast(root: Path, version: str = "v2.0") -> Seen:
    """The camera ran at 30 frames a second, the rows are of every third."""
    shown = list(range(0, 45, 3))
    return _own_videos(root, version, _times(15), [clip(n, 45) for n in range(2)], shown, fps=30)


def unevenly_filmed(root: Path, version: str = "v2.1") -> Seen:
    """Rows are of the moments at which the camera took its frames, evenly or not."""
    times = _times(20) + np.where(np.arange(20) % 5 == 2, 0.03, 0)
    pictures = [clip(n, 20) for n in range(2)]
    return _own_videos(root, version, times, pictures, list(range(20)), taken=times)


def first_rows_cut_v3(root: Path) -> Seen:
    """The same in version 3, both episodes in one file."""
    return first_rows_cut(root, "v3.0")


def idle_rows_cut_v3(root: Path) -> Seen:
    """The same in version 3, both episodes in one file."""
    return idle_rows_cut(root, "v3.0")


def filmed_three_times_as_fast_v3(root: Path) -> Seen:
    """The same in version 3, both episodes in one file."""
    return filmed_three_times_as_fast(root, "v3.0")


CASES: dict[str, Callable[[Path], Seen]] = {
    made.__name__: made
    for made in (
        spare_frames_between,
        trimmed_by_metadata,
        frames_stored_out_of_order,
        cut_by_an_edit_list,
        first_rows_cut,
        idle_rows_cut,
        filmed_three_times_as_fast,
        unevenly_filmed,
        first_rows_cut_v3,
        idle_rows_cut_v3,
        filmed_three_times_as_fast_v3,
    )
}


def _own_videos(
    root: Path,
    version: str,
    times: np.ndarray,
    pictures: list[np.ndarray],
    shown: list[int],
    *,
    fps: int = FPS,
    taken: np.ndarray | None = None,
) -> Seen:
    """Episodes whose rows are of `times`, in videos of their own, or end to end in version 3."""
    lasts = len(pictures[0]) / fps
    begins = [n * lasts if version.startswith("v3") else 0.0 for n in range(len(pictures))]
    write(
        root,
        [Made(times=times, begin=begin, end=begin + lasts) for begin in begins],
        version=version,
    )
    if version.startswith("v3"):
        film(_v3_video(root), np.concatenate(pictures), fps=fps)
    else:
        for number, own in enumerate(pictures):
            film(_old_video(root, number), own, fps=fps, times=taken)
    return [[(number, t) for t in shown] for number in range(len(pictures))]


def _times(count: int) -> np.ndarray:
    return np.arange(count) / FPS


def _whole(episode: int, length: int) -> list[tuple[int, int]]:
    return [(episode, t) for t in range(length)]


def _v3_video(root: Path) -> Path:
    return root / f"videos/{VIEW}/chunk-000/file-000.mp4"


def _old_video(root: Path, episode: int) -> Path:
    return root / f"videos/chunk-000/{VIEW}/episode_{episode:06d}.mp4"


def _rows(number: int, times: np.ndarray, begun: int) -> pa.Table:
    count, rng = len(times), np.random.default_rng(number)
    values = rng.normal(size=(2, count, 2)).cumsum(axis=1).astype(np.float32)
    fixed = pa.list_(pa.float32(), 2)
    return pa.table(
        {
            "observation.state": pa.array(values[0].tolist(), fixed),
            "action": pa.array(values[1].tolist(), fixed),
            "timestamp": pa.array(times, pa.float32()),
            "frame_index": pa.array(np.arange(count), pa.int64()),
            "episode_index": pa.array(np.full(count, number), pa.int64()),
            "index": pa.array(begun + np.arange(count), pa.int64()),
            "task_index": pa.array(np.zeros(count), pa.int64()),
        }
    )


def _listed(number: int, made: Made, end: int, fps: int) -> dict[str, object]:
    length = len(made.times)
    to = made.begin + length / fps if made.end is None else made.end
    return {
        "episode_index": number,
        "tasks": ["mark"],
        "length": length,
        "data/chunk_index": 0,
        "data/file_index": 0,
        "dataset_from_index": end - length,
        "dataset_to_index": end,
        f"videos/{VIEW}/chunk_index": 0,
        f"videos/{VIEW}/file_index": 0,
        f"videos/{VIEW}/from_timestamp": made.begin,
        f"videos/{VIEW}/to_timestamp": to,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }


def _write_old(root: Path, tables: list[pa.Table], stats: Mapping[str, object]) -> None:
    folder = root / "data/chunk-000"
    folder.mkdir(parents=True)
    lines, kept = [], []
    for number, table in enumerate(tables):
        pq.write_table(table, folder / f"episode_{number:06d}.parquet")
        lines.append({"episode_index": number, "tasks": ["mark"], "length": table.num_rows})
        kept.append({"episode_index": number, "stats": stats})
    meta = root / "meta"
    (meta / "episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (meta / "episodes_stats.jsonl").write_text("\n".join(map(json.dumps, kept)))
    (meta / "tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "mark"}))


def _stats(tables: list[pa.Table]) -> dict[str, list[float]]:
    count = sum(table.num_rows for table in tables)
    return {"min": [-9.0] * 2, "max": [9.0] * 2, "mean": [0.0] * 2, "std": [1.0] * 2,
            "count": [count]}  # fmt: skip


def copied(root: Path, out: Path) -> Path:
    """The dataset once more, to be spoilt."""
    return Path(shutil.copytree(root, out))
