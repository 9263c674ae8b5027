"""Index of a LeRobot dataset: the files that hold the rows and frames of every episode."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from worldeval.data.files import listed, need, own_file
from worldeval.data.finding import DataError
from worldeval.data.formats.lerobot.layout import OURS

KEYS = ("video_key", "image_key")  # names of a view's feature in path templates
WIDEST = 64  # maximum characters of a number in a path template


@dataclass(frozen=True, kw_only=True)
class VideoSpan:
    """An episode's frames in a video file."""

    file: str  # relative to the dataset
    begin: float  # seconds into the file
    end: float | None = None  # if given in the index


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One episode as the dataset's index lists it."""

    number: int  # episode_index
    length: int
    tasks: tuple[str, ...]  # as the index lists them
    rows: str  # the parquet file, relative to the dataset
    clips: Mapping[str, VideoSpan]  # image key -> where its frames are
    ours: Mapping[str, Any]  # what our writer stored in addition to LeRobot's columns
    listed_in: Path


def read_index(root: Path, info: Mapping[str, Any], video_keys: list[str]) -> list[Entry]:
    """List the episodes by number, as indexed; nothing is checked against the files."""
    version = str(info.get("codebase_version"))
    if version.startswith("v3."):
        return _v3(root, info, video_keys)
    if version.startswith(("v2.1", "v2.0")):
        return _v21(root, info, video_keys)
    raise DataError(
        root / "meta/info.json",
        "codebase_version",
        f"version {version!r} is not supported (supported: v3.0, v2.1).",
        "Convert the dataset with LeRobot's own scripts first.",
    )


def _v3(root: Path, info: Mapping[str, Any], video_keys: list[str]) -> list[Entry]:
    where = root / "meta/info.json"
    rows_path, video_path = _template(info, "data_path", where), str(info.get("video_path"))
    files = listed(root, "meta/episodes/*/*.parquet")
    if not files:
        raise DataError(root / "meta/episodes", "file", "there is no episodes table (*.parquet).")
    entries = []
    for file in files:
        table = read_table(own_file(root, file))
        names = [name for name in table.column_names if not name.startswith("stats/")]
        for row in table.select(names).to_pylist():
            get = _getter(row, file)
            clips = {}
            for key in video_keys:
                path = _fill(
                    video_path, file, **dict.fromkeys(KEYS, key),
                    chunk_index=get(f"videos/{key}/chunk_index", int),
                    file_index=get(f"videos/{key}/file_index", int),
                )  # fmt: skip
                begin = get(f"videos/{key}/from_timestamp", (int, float))
                if not (math.isfinite(begin) and begin >= 0):
                    field = f"videos/{key}/from_timestamp"
                    raise DataError(file, field, f"{begin} is not a valid time in a video.")
                clips[key] = VideoSpan(file=path, begin=float(begin), end=_end(row, key))
            entries.append(
                Entry(
                    number=get("episode_index", int),
                    length=get("length", int),
                    tasks=_texts(row.get("tasks")),
                    rows=_fill(
                        rows_path, file,
                        chunk_index=get("data/chunk_index", int),
                        file_index=get("data/file_index", int),
                    ),
                    clips=clips,
                    ours={k.removeprefix(OURS): v for k, v in row.items() if k.startswith(OURS)},
                    listed_in=file,
                )
            )  # fmt: skip
    return sorted(entries, key=lambda entry: entry.number)


def _v21(root: Path, info: Mapping[str, Any], video_keys: list[str]) -> list[Entry]:
    where, file = root / "meta/info.json", root / "meta/episodes.jsonl"
    rows_path, video_path = _template(info, "data_path", where), str(info.get("video_path"))
    size = need(info, "chunks_size", int, where)
    if size < 1:
        raise DataError(where, "chunks_size", f"{size} is not a valid number of episodes.")
    entries = []
    for row in _lines(root, file):
        get = _getter(row, file)
        number = get("episode_index", int)
        chunk = number // size
        place = {
            "episode_chunk": chunk, "chunk_index": chunk, "episode_index": number,
            "episode_id": number, "file_index": number,
        }  # fmt: skip
        entries.append(
            Entry(
                number=number,
                length=get("length", int),
                tasks=_texts(row.get("tasks")),
                rows=_fill(rows_path, where, **place),
                clips={
                    key: VideoSpan(
                        file=_fill(video_path, where, **dict.fromkeys(KEYS, key), **place),
                        begin=0.0,
                    )
                    for key in video_keys
                },
                ours={},
                listed_in=file,
            )
        )
    if not entries:
        raise DataError(file, "file", "it lists no episodes.")
    return sorted(entries, key=lambda entry: entry.number)


def read_tasks(root: Path) -> dict[int, str]:
    """Read the mapping task_index -> task text; empty if the dataset has no table of tasks."""
    table, lines = root / "meta/tasks.parquet", root / "meta/tasks.jsonl"
    if table.is_file():
        try:
            rows = pd.read_parquet(own_file(root, table))
            texts = _task_texts(rows, table)
            return dict(zip(map(int, rows["task_index"].tolist()), texts, strict=True))
        except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
            raise DataError(table, "task_index", f"it cannot be read ({error}).") from error
    if lines.is_file():
        rows = [_getter(row, lines) for row in _lines(root, lines)]
        return {get("task_index", int): get("task", str) for get in rows}
    return {}


def read_table(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a parquet file, or only the given columns, all of which must exist."""
    try:
        there = pq.read_schema(file).names
        for name in columns or ():
            if name not in there:
                raise DataError(
                    file, name, f"the column is missing (available: {', '.join(there)})."
                )
        with pq.ParquetFile(file) as parquet:
            return parquet.read(columns=columns and list(columns))
    except (OSError, pa.ArrowException) as error:
        raise DataError(file, "file", f"it is not readable parquet ({error}).") from error


def _lines(root: Path, file: Path) -> list[dict[str, Any]]:
    try:
        lines = own_file(root, file).read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except FileNotFoundError as error:
        raise DataError(file, "file", "the file does not exist.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(file, "file", f"it is not readable JSON lines ({error}).") from error
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(file, f"line {number + 1}", "it is not a JSON object.")
    return rows


def _getter(row: Mapping[str, Any], file: Path) -> Callable[[str, type | tuple[type, ...]], Any]:
    return lambda key, kind: need(row, key, kind, file)


def _template(info: Mapping[str, Any], key: str, where: Path) -> str:
    return need(info, key, str, where)


def _fill(template: str, file: Path, **values: Any) -> str:
    try:
        for _, name, spec, _ in Formatter().parse(template):
            if name is not None and name not in values:
                raise DataError(
                    file, "path", f"{template!r:.120} uses the placeholder {name!r:.40}; known: "
                    f"{', '.join(values)}."
                )  # fmt: skip
            if "{" in (spec or "") or any(
                int(width) > WIDEST for width in re.findall(r"\d+", spec or "")
            ):
                raise DataError(file, "path", f"{template!r:.120} produces excessively long names.")
        return template.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise DataError(file, "path", f"{template!r:.120} is not a path ({error}).") from error


def _end(row: Mapping[str, Any], key: str) -> float | None:
    end = row.get(f"videos/{key}/to_timestamp")
    return float(end) if isinstance(end, int | float) and math.isfinite(end) else None


def _texts(tasks: object) -> tuple[str, ...]:
    listed = [tasks] if isinstance(tasks, str) else tasks
    if not isinstance(listed, list | tuple):
        return ()
    return tuple(dict.fromkeys(text for text in listed if isinstance(text, str) and text))


def _task_texts(table: pd.DataFrame, file: Path) -> list[str]:
    """Return the task texts: from the index as LeRobot writes it, else the only text column."""
    if all(isinstance(text, str) for text in table.index):
        return table.index.tolist()
    columns = [name for name in table.columns if all(isinstance(text, str) for text in table[name])]
    found = "task" if "task" in columns else columns[0] if len(columns) == 1 else None
    if found is None:
        raise DataError(
            file,
            "task",
            f"its index does not contain the task texts, and {len(columns)} columns contain text "
            f"({', '.join(map(str, columns)) or 'none'}).",
            "Write the table with the task texts as its pandas index, or in a column named task.",
        )
    return table[found].tolist()
