"""Read a LeRobot dataset, v3.0 or v2.1, from its folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from worldeval.axes import Array, Float, Int, UInt8
from worldeval.data.columns import ColumnMeanings
from worldeval.data.data_map import DataMap
from worldeval.data.depth import grey, left_out
from worldeval.data.files import inside, load_json, need, rate
from worldeval.data.finding import DataError, DataFinding, skipped
from worldeval.data.formats.lerobot.clips import VideoFiles, shared_frames
from worldeval.data.formats.lerobot.features import (
    ChosenFeatures,
    choose_features,
    reward_key,
    without,
)
from worldeval.data.formats.lerobot.index import Entry, read_index, read_tasks
from worldeval.data.formats.lerobot.layout import MEANING_PATH, SUCCESS
from worldeval.data.formats.lerobot.splits import read_splits, split_of
from worldeval.data.formats.lerobot.table import matrix_of, read_columns, truth_of, truths_of
from worldeval.data.frame_times import frames_at
from worldeval.data.kept_meaning import read_meaning
from worldeval.data.packed import is_deep, unpacked, unpacked_depth
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.video import probe, read_frames

KEPT = 4096  # number of views of episodes whose frame numbers are cached
DEEP = ("gray9", "gray10", "gray12", "gray14", "gray16", "grayf")  # depth pixel formats


class LeRobotSource(Source):
    """Dataset of `meta/info.json`, with pose `observation.state` and action `action`."""

    UNDERSTANDS = (
        "action.keys", "pose.keys", "views", "channels", "depth", "reward", "task_key"
    )  # fmt: skip

    def __init__(self, path: Path, given: DataMap | None = None) -> None:
        self.path, self.given = path, given or DataMap()
        self.findings: list[DataFinding] = []
        where = path / "meta/info.json"
        info = load_json(where, path)
        features = need(info, "features", dict, where)
        self._features: Mapping[str, Any] = features
        self._splits = read_splits(info, where)
        self._chosen = chosen = choose_features(features, where, self.given)
        self._refuse_deep_videos()
        self.spec = SourceSpec(
            format=f"lerobot-{info.get('codebase_version')}",
            path=path,
            fps=rate(info.get("fps"), where),
            views=dict(chosen.sizes),
            action_names=chosen.action_names,
            pose_names=chosen.pose_names,
            meaning=self._meaning(chosen),
            read_as=replace(
                self.given,
                action=replace(self.given.action, keys=chosen.action),
                pose=replace(self.given.pose, keys=chosen.pose),
                views=dict(chosen.views),
            ),
        )
        self._flagged = SUCCESS in features
        self._tasks = tasks = read_tasks(path)
        video_keys = [chosen.views[view] for view, video in chosen.video.items() if video]
        self._numbers: dict[tuple[int, str], Array] = {}  # cached frame numbers
        self._entries: list[Entry] = []
        self.heads: list[Head] = []
        seen: set[int] = set()
        entries = read_index(path, info, video_keys)
        self._files = VideoFiles(path)
        self._chosen, missing = self._files.without_missing(chosen, entries)
        self.findings += missing
        self.spec = replace(self.spec, views=dict(self._chosen.sizes))
        for entry in entries:
            name = str(entry.ours.get("id") or entry.number)
            try:
                if entry.number in seen:
                    raise DataError(
                        entry.listed_in, "episode_index", f"episode {entry.number} is listed twice."
                    )
                seen.add(entry.number)
                head = self._head(name, entry, tasks)
            except DataError as error:
                self.findings.append(skipped(name, error))
                continue
            self.heads.append(head)
            self._entries.append(entry)
        self._leave_depth_out()
        self._check_totals(info, where)

    def _meaning(self, chosen: ChosenFeatures) -> ColumnMeanings:
        """What a dataset that worldeval wrote says of its columns."""
        file = self.path / MEANING_PATH
        if not file.is_file():
            return ColumnMeanings()
        found = {"action": chosen.action_names, "pose": chosen.pose_names}
        return read_meaning(load_json(file, self.path), file, **found)

    @staticmethod
    def detect(path: Path) -> bool:
        """Accept a folder with meta/info.json."""
        return (path / "meta/info.json").is_file()

    def rows(self, index: int) -> Rows:
        entry, file = self._entries[index], self._rows_file(self._entries[index])
        chosen, head = self._chosen, self.heads[index]
        more = (SUCCESS,) if self._flagged else ()
        told = self.given.task_key or "task_index"
        more += (told,) if head.tasks else ()
        table = self._slice(entry, (*chosen.action, *chosen.pose, "timestamp", *more))
        joined = []
        for keys, expected in (
            (chosen.action, self.spec.action_names),
            (chosen.pose, self.spec.pose_names),
        ):
            values = np.concatenate([matrix_of(table[key], file, key) for key in keys], axis=1)
            if values.shape[1] != len(expected):
                raise DataError(
                    file,
                    ", ".join(keys),
                    f"it has {values.shape[1]} dimensions, but meta/info.json states "
                    f"{len(expected)}.",
                )
            joined.append(values)
        known = truths_of(table[SUCCESS], file) if self._flagged else [None]
        return Rows(
            actions=joined[0],
            pose=joined[1],
            times=matrix_of(table["timestamp"], file, "timestamp")[:, 0].astype(np.float64),
            flags=None if None in known or head.success is None else np.array(known, np.uint8),
            task=self._tasks_of(table[told], head, file) if head.tasks else None,
        )

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        entry = self._entries[index]
        name = reward_key(self._features, self.given) if key == "reward" else key
        table = matrix_of(self._slice(entry, (name,))[name], self._rows_file(entry), name)
        if table.shape[1] != 1:
            words = f"it has {table.shape[1]} values per frame; a success rule needs one."
            raise DataError(self._rows_file(entry), name, words)
        return table[:, 0].astype(np.float64)

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        self.choose([view])
        entry, key = self._entries[index], self._chosen.views[view]
        wanted = np.arange(entry.length) if rows is None else np.asarray(rows)
        if not self._chosen.video[view]:
            return self._images(entry, key, wanted)
        file = self._video_file(entry, key)
        frames = read_frames(file, self._frame_numbers(index, key, file)[wanted])
        if frames.shape[1:3] != self.spec.views[view]:
            raise DataError(
                file,
                key,
                f"frames are {frames.shape[1:3]}, but info.json states {self.spec.views[view]}.",
            )
        return frames

    def examine(self) -> list[DataFinding]:
        """Report episodes to which the index assigns the same frames."""
        return shared_frames([head.id for head in self.heads], self._entries, self.spec.fps)

    def _frame_numbers(self, index: int, key: str, file: Path) -> Int[Array, " t"]:
        """Find every row's video frame at from_timestamp + timestamp, as LeRobot does."""
        kept = self._numbers.get((index, key))
        if kept is None:
            entry = self._entries[index]
            times = self._times(entry)
            begin = entry.clips[key].begin
            kept = frames_at(file, begin + times, episode=self.heads[index].id)
            if len(self._numbers) >= KEPT:
                self._numbers.clear()
            self._numbers[index, key] = kept
        return kept

    def _times(self, entry: Entry) -> Float[Array, " t"]:
        table = self._slice(entry, ("timestamp",))
        return matrix_of(table["timestamp"], self._rows_file(entry), "timestamp")[:, 0].astype(
            float
        )

    def _head(self, name: str, entry: Entry, tasks: Mapping[int, str]) -> Head:
        if entry.length < 1:
            raise DataError(
                entry.listed_in, "length", f"{entry.length} frames are too few for an episode."
            )
        clips = {key: entry.clips[key] for key in self._chosen.views.values() if key in entry.clips}
        for key, clip in clips.items():
            if not self._files.exists(clip.file):
                raise DataError(
                    entry.listed_in, f"videos/{key}", f"the file {clip.file} does not exist."
                )
            # A span longer than the rows means that an episode was trimmed by its metadata.
            frames = None if clip.end is None else round((clip.end - clip.begin) * self.spec.fps)
            if frames is not None and frames < entry.length:
                self.findings.append(
                    DataFinding(
                        code="frame-count",
                        severity="note",
                        episode=name,
                        field=f"videos/{key}/to_timestamp",
                        text=f"spans {frames} frames, but the episode has {entry.length} rows. "
                        "Frames are looked up by time, also beyond the end of the span.",
                    )
                )
        said = self._instructions(entry, tasks)
        if len(said) > 1:
            self.findings.append(
                DataFinding(
                    code="several-tasks",
                    severity="warning",
                    episode=name,
                    field="tasks",
                    text=f"has {len(said)} consecutive instructions ({'; '.join(said)}). "
                    "LeRobot stores one per frame, but here the whole episode gets the first. "
                    "Split the episode where the instruction changes.",
                )
            )
        return Head(
            id=name,
            length=entry.length,
            task=next(iter(said), ""),
            success=self._success(entry),
            split=str(entry.ours.get("split") or split_of(self._splits, entry.number)),
            source=str(entry.ours.get("source") or ""),
            tasks=said if len(said) > 1 else (),
        )

    def _instructions(self, entry: Entry, tasks: Mapping[int, str]) -> tuple[str, ...]:
        """List all instructions of an episode in order of their first use."""
        key = self.given.task_key
        if key:
            cells = self._slice(entry, (key,))[key].to_pylist()
            texts = (tasks.get(cell, "") if isinstance(cell, int) else str(cell) for cell in cells)
            return tuple(dict.fromkeys(texts))
        if len(entry.tasks) == 1 or not tasks:
            return entry.tasks or ("",)
        numbers_of = self._slice(entry, ("task_index",))["task_index"].to_pylist()
        return tuple(dict.fromkeys(tasks.get(int(number or 0), "") for number in numbers_of))

    def _tasks_of(self, cells: pa.ChunkedArray, head: Head, file: Path) -> Int[Array, " t"]:
        """Return the index of every row's instruction among the head's."""
        texts = [
            self._tasks.get(cell, "") if isinstance(cell, int) else str(cell)
            for cell in cells.to_pylist()
        ]
        try:
            return np.array([head.tasks.index(text) for text in texts], np.int64)
        except ValueError as error:
            words = f"a row has a task that the episode does not list ({error})."
            raise DataError(file, "task_index", words) from error

    def _success(self, entry: Entry) -> bool | None:
        if "success" in entry.ours:
            return truth_of(entry.ours["success"], entry.listed_in, "success")
        if not self._flagged:
            return None
        known = truths_of(self._slice(entry, (SUCCESS,))[SUCCESS], self._rows_file(entry))
        told = [flag for flag in known if flag is not None]
        return any(told) if told else None

    def _refuse_deep_videos(self) -> None:
        for key in self.given.depth:
            if self._features.get(key, {}).get("dtype") == "video":
                raise DataError(
                    self.path,
                    key,
                    "depth in a video cannot be shown in grey, because its encoding varies by "
                    "writer.",
                    "Remove it from depth: in the map; the view is then excluded.",
                )

    def _video_file(self, entry: Entry, key: str) -> Path:
        return self._files.find(entry, key)

    def _rows_file(self, entry: Entry) -> Path:
        return inside(self.path, entry.rows, owner=entry.listed_in, field="data")

    def _slice(self, entry: Entry, columns: Sequence[str]) -> pa.Table:
        """Read the rows of an episode, found by its number and checked against the index."""
        file = self._rows_file(entry)
        state = file.stat()
        table = read_columns(file, (*columns, "episode_index"), state.st_mtime_ns, state.st_size)
        owner = table["episode_index"].to_numpy()
        here = np.flatnonzero(owner == entry.number)
        if len(here) != entry.length:
            raise DataError(
                file,
                "episode_index",
                f"{len(here)} rows belong to episode {entry.number}, but {entry.listed_in.name} "
                f"states {entry.length}.",
            )
        if here[-1] - here[0] + 1 != len(here):
            raise DataError(
                file, "episode_index", f"the rows of episode {entry.number} are not contiguous."
            )
        return table.slice(int(here[0]), len(here))

    def _images(self, entry: Entry, key: str, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
        view = next(view for view, one in self._chosen.views.items() if one == key)
        size = self._chosen.sizes[view]
        out = np.empty((len(rows), *size, 3), np.uint8)
        file = self._rows_file(entry)
        for place, (row, content) in enumerate(self._packed(entry, key, rows)):
            field = f"{key}[{row}]"
            if key in self.given.depth:
                image = grey(unpacked_depth(content, file, field)[None], *self.given.depth[key])[0]
            else:
                image = unpacked(content, file, field, self.given.channels)
            if image.shape != out.shape[1:]:
                raise DataError(file, field, f"it is {image.shape}; expected {out.shape[1:]}.")
            out[place] = image
        return out

    def _packed(
        self, entry: Entry, key: str, rows: Int[Array, " n"]
    ) -> Iterator[tuple[int, bytes]]:
        cells = self._slice(entry, (key,))[key]
        for row in rows:
            cell = cells[int(row)].as_py()
            content = cell.get("bytes") if isinstance(cell, dict) else cell
            if not isinstance(content, bytes):
                words = "the image is not stored in the table."
                raise DataError(self._rows_file(entry), f"{key}[{row}]", words)
            yield int(row), content

    def _leave_depth_out(self) -> None:
        """Exclude and report views that hold depth according to a first look."""
        for view, key in list(self._chosen.views.items()):
            if self._entries and self._is_deep(self._entries[0], view, key):
                if len(self._chosen.views) == 1:
                    words = "it contains depth, and there is no other view."
                    raise DataError(self.path, key, words)
                self._chosen = without(self._chosen, view)
        videos = [key for key in self._chosen.depth if self._features[key]["dtype"] == "video"]
        self.findings += left_out(videos, can_show=False)
        self.findings += left_out(key for key in self._chosen.depth if key not in videos)
        if self._chosen.depth:
            self.spec = replace(self.spec, views=dict(self._chosen.sizes))

    def _is_deep(self, entry: Entry, view: str, key: str) -> bool:
        if key in self.given.depth:
            return False
        try:
            if self._chosen.video[view]:
                return probe(self._video_file(entry, key)).pix_fmt.startswith(DEEP)
            _, content = next(self._packed(entry, key, np.zeros(1, np.int64)))
            return is_deep(content, self._rows_file(entry), key)
        except DataError:
            return False  # unreadable files are reported when they are read

    def _check_totals(self, info: Mapping[str, Any], where: Path) -> None:
        frames = sum(head.length for head in self.heads)
        for field, found in (("total_episodes", len(self.heads)), ("total_frames", frames)):
            if info.get(field) != found:
                self.findings.append(
                    DataFinding(
                        code="total-differs",
                        severity="warning",
                        episode=None,
                        field=field,
                        text=f"{where} states {info.get(field)}, but {found} can be read.",
                    )
                )
