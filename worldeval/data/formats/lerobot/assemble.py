"""Assemble staged episodes into the files of a LeRobot v3.0 dataset.

Memory use stays at one episode: rows are copied table by table, video packets are copied without
being decoded, and quantiles of very long datasets come from an even sample of the rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from worldeval.axes import Array
from worldeval.data.formats.lerobot import stats
from worldeval.data.formats.lerobot.layout import (
    DATA_PATH,
    EPISODES_PATH,
    MEANING_PATH,
    OURS,
    SUCCESS,
    VIDEO_PATH,
    Layout,
    image_key,
)
from worldeval.data.kept_meaning import write_meaning
from worldeval.data.video import VideoJoiner
from worldeval.files import read_json, write_json
from worldeval.written import check_parquet

MB = 1024 * 1024
QUANTILE_ROWS = 1_000_000  # of the whole dataset; more are sampled evenly


def assemble(staged: Sequence[Path], out: Path, layout: Layout) -> None:
    """Write the whole dataset to the new folder `out`."""
    described = [read_json(path / "episode.json") for path in staged]
    tasks = list(dict.fromkeys(task for entry in described for task in entry["tasks"]))
    # LeRobot cannot load nulls, and false would mean that an episode failed. So if any is unknown,
    # the frames omit success, and the table of episodes holds the known ones.
    flagged = all(entry["known"] for entry in described)
    frames = sum(entry["length"] for entry in described)
    rows = [
        {
            "episode_index": index,
            "tasks": entry["tasks"],
            "length": entry["length"],
            **entry["columns"],
        }
        for index, entry in enumerate(described)
    ]
    every = max(1, -(-frames // QUANTILE_ROWS))
    total = _data(staged, rows, described, tasks, out, layout, flagged=flagged, every=every)
    for view in layout.views:
        total[image_key(view)] = _video(staged, rows, described, image_key(view), out, layout)
    _episodes(rows, out)
    table = pd.DataFrame({"task_index": range(len(tasks))}, index=pd.Index(tasks, dtype="str"))
    (out / "meta").mkdir(exist_ok=True)
    table.to_parquet(out / "meta" / "tasks.parquet")
    check_parquet(out / "meta" / "tasks.parquet", len(tasks))
    write_json(out / "meta" / "stats.json", total)
    info = layout.info(episodes=len(rows), frames=frames, tasks=len(tasks), flagged=flagged)
    write_json(out / "meta" / "info.json", info)
    meaning = write_meaning(layout.meaning)
    if meaning:
        (out / MEANING_PATH).write_text(meaning, encoding="utf-8")


class _Roll:
    """Tracker of the file being filled, which decides when to begin the next one."""

    def __init__(self, limit_mb: float, files_per_chunk: int) -> None:
        self._limit, self._per_chunk = limit_mb * MB, files_per_chunk
        self._file, self._size = 0, 0

    def take(self, size: int) -> bool:
        """Make room for `size` bytes; return true if they begin a new file after the first."""
        new = self._size > 0 and self._size + size > self._limit
        self._file, self._size = self._file + new, size if new else self._size + size
        return new

    @property
    def place(self) -> dict[str, int]:
        chunk, file = divmod(self._file, self._per_chunk)
        return {"chunk_index": chunk, "file_index": file}


def _data(
    staged: Sequence[Path],
    rows: list[dict[str, Any]],
    described: Sequence[Mapping[str, Any]],
    tasks: Sequence[str],
    out: Path,
    layout: Layout,
    *,
    flagged: bool,
    every: int,
) -> dict[str, stats.Stats]:
    roll = _Roll(layout.limits.data_mb, layout.limits.files_per_chunk)
    running: dict[str, stats.Running] = {}
    index_of = {task: index for index, task in enumerate(tasks)}
    files: dict[Path, int] = {}  # number of rows per file
    file, writer, begin = out, None, 0
    for path, row, entry in zip(staged, rows, described, strict=True):
        table = pq.read_table(path / "rows.parquet")
        if not flagged:
            table = table.drop_columns([SUCCESS])
        own = np.array([index_of[task] for task in row["tasks"]])
        length, end = row["length"], begin + row["length"]
        for name, values in (
            ("episode_index", np.full(length, row["episode_index"])),
            ("index", np.arange(begin, end)),
            ("task_index", own[entry["task_of_row"] or np.zeros(length, np.int64)]),
        ):
            table = table.append_column(name, pa.array(values, pa.int64()))
        if roll.take((path / "rows.parquet").stat().st_size) and writer is not None:
            writer.close()
            writer = None
        if writer is None:
            file = _made(out / DATA_PATH.format(**roll.place))
            writer = pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
        files[file] = files.get(file, 0) + length
        row |= {f"data/{key}": value for key, value in roll.place.items()}
        row |= {"dataset_from_index": begin, "dataset_to_index": end}
        for name in table.column_names:
            values = _matrix(table[name])
            _put(row, name, stats.of_numbers(values))
            running.setdefault(name, stats.Running(every=every)).add(values)
        begin = end
    if writer is not None:
        writer.close()
    for path, count in files.items():
        check_parquet(path, count)
    return {name: column.stats() for name, column in running.items()}


def _video(
    staged: Sequence[Path],
    rows: list[dict[str, Any]],
    described: Sequence[Mapping[str, Any]],
    key: str,
    out: Path,
    layout: Layout,
) -> stats.Stats:
    roll = _Roll(layout.limits.video_mb, layout.limits.files_per_chunk)
    total, sampled = np.zeros((3, 256), np.int64), 0
    joiner = None
    for path, row, entry in zip(staged, rows, described, strict=True):
        video = path / f"{key}.mp4"
        if roll.take(video.stat().st_size) and joiner is not None:
            joiner.close()
            joiner = None
        if joiner is None:
            file = _made(out / VIDEO_PATH.format(video_key=key, **roll.place))
            joiner = VideoJoiner(file, fps=layout.fps)
        begin = joiner.frames
        joiner.append(video)
        row |= {f"videos/{key}/{name}": value for name, value in roll.place.items()}
        # From frame counts, because a running sum of durations drifts and LeRobot's reader raises.
        row[f"videos/{key}/from_timestamp"] = begin / layout.fps
        row[f"videos/{key}/to_timestamp"] = joiner.frames / layout.fps
        with np.load(path / "histograms.npz") as kept:
            counts = kept[key]
        _put(row, key, stats.of_histogram(counts, entry["sampled_frames"]))
        total, sampled = total + counts, sampled + entry["sampled_frames"]
    if joiner is not None:
        joiner.close()
    return stats.of_histogram(total, sampled)


def _episodes(rows: list[dict[str, Any]], out: Path) -> None:
    for row in rows:
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
    names = dict.fromkeys(name for row in rows for name in row)
    # An explicit type, because LeRobot's reader cannot tell an all-null column from text.
    types = {f"{OURS}success": pa.bool_()}
    columns = {name: pa.array([row.get(name) for row in rows], types.get(name)) for name in names}
    file = _made(out / EPISODES_PATH.format(chunk_index=0, file_index=0))
    pq.write_table(pa.table(columns), file)
    check_parquet(file, len(rows))


def _put(row: dict[str, Any], feature: str, values: stats.Stats) -> None:
    row |= {f"stats/{feature}/{name}": value for name, value in values.items()}


def _matrix(column: pa.ChunkedArray) -> Array:
    """Convert a column to an array of rows x dimensions."""
    plain = column.combine_chunks()
    if pa.types.is_fixed_size_list(plain.type):
        return plain.flatten().to_numpy().reshape(len(plain), plain.type.list_size)
    return plain.to_numpy(zero_copy_only=False)[:, None].astype(np.float64)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
