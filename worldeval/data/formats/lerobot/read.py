"""Read a LeRobot dataset, v3.0 or v2.1, from its folder."""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, UnidentifiedImageError

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.files import inside, load_json, need, numbers, rate
from worldeval.data.finding import DataError, DataFinding, skipped
from worldeval.data.formats.lerobot.index import Entry, read_index, read_table, read_tasks
from worldeval.data.formats.lerobot.layout import ACTION, STATE, SUCCESS, names_of, view_name
from worldeval.data.frame_times import frames_at
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.video import read_frames

KEPT = 4096  # episodes' views of which the frame numbers are kept
OPEN_TABLES = 4  # files of rows kept in memory; each is at most about 100 MB


class LeRobotSource(Source):
    """What `meta/info.json` describes; the pose is `observation.state`, the action `action`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings: list[DataFinding] = []
        where = path / "meta/info.json"
        info = load_json(where)
        features = need(info, "features", dict, where)
        self._keys = _image_keys(features, where)
        self._is_video = {
            view: features[key]["dtype"] == "video" for view, key in self._keys.items()
        }
        for key in (ACTION, STATE):
            _vector(features, key, where)
        self.spec = SourceSpec(
            format=f"lerobot-{info.get('codebase_version')}",
            path=path,
            fps=rate(info.get("fps"), where),
            views={view: tuple(features[key]["shape"][:2]) for view, key in self._keys.items()},
            action_names=names_of(features[ACTION], "action"),
            pose_names=names_of(features[STATE], "pose"),
        )
        self._flagged = SUCCESS in features
        tasks = read_tasks(path)
        video_keys = [self._keys[view] for view, video in self._is_video.items() if video]
        self._video_files: dict[str, Path] = {}
        self._numbers: dict[tuple[int, str], Array] = {}  # frame numbers, looked up once
        self._entries: list[Entry] = []
        self.heads: list[Head] = []
        seen: set[int] = set()
        for entry in read_index(path, info, video_keys):
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
        self._check_totals(info, where)

    @staticmethod
    def detect(path: Path) -> bool:
        """A folder with meta/info.json."""
        return (path / "meta/info.json").is_file()

    def rows(self, index: int) -> Rows:
        entry, file = self._entries[index], self._rows_file(self._entries[index])
        names = (ACTION, STATE, "timestamp")
        table = self._slice(entry, names)
        action, state, times = (_matrix(table[name], file, name) for name in names)
        for name, values, expected in (
            (ACTION, action, self.spec.action_names),
            (STATE, state, self.spec.pose_names),
        ):
            if values.shape[1] != len(expected):
                raise DataError(
                    file,
                    name,
                    f"it has {values.shape[1]} dimensions; meta/info.json says {len(expected)}.",
                )
        return Rows(actions=action, pose=state, times=times[:, 0].astype(np.float64))

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        self.choose([view])
        entry, key = self._entries[index], self._keys[view]
        wanted = np.arange(entry.length) if rows is None else np.asarray(rows)
        if not self._is_video[view]:
            return self._images(entry, key, wanted)
        file = self._video_file(entry, key)
        frames = read_frames(file, self._frame_numbers(index, key, file)[wanted])
        if frames.shape[1:3] != self.spec.views[view]:
            raise DataError(
                file,
                key,
                f"frames are {frames.shape[1:3]}, info.json says {self.spec.views[view]}.",
            )
        return frames

    def examine(self) -> list[DataFinding]:
        """Episodes that the index gives the same frames."""
        spans: dict[str, list[tuple[float, float, str]]] = {}
        for head, entry in zip(self.heads, self._entries, strict=True):
            for clip in entry.clips.values():
                end = clip.begin + (entry.length - 0.5) / self.spec.fps
                spans.setdefault(clip.file, []).append((clip.begin, end, head.id))
        found = []
        for file, listed in spans.items():
            listed.sort()
            for (begin, end, one), (after, _, other) in pairwise(listed):
                if after < end:
                    found.append(
                        DataFinding(
                            code="frames-shared",
                            severity="error",
                            episode=other,
                            field=file,
                            text=f"begins at {after:.4g} s, within episode {one} ({begin:.4g} to "
                            f"{end:.4g} s): both show the same frames. Correct from_timestamp in "
                            "meta/episodes, or convert again.",
                        )
                    )
        return found

    def _frame_numbers(self, index: int, key: str, file: Path) -> Int[Array, " t"]:
        """Every row's frame in its video, at from_timestamp + timestamp as LeRobot looks it up."""
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
        return _matrix(table["timestamp"], self._rows_file(entry), "timestamp")[:, 0].astype(float)

    def _head(self, name: str, entry: Entry, tasks: Mapping[int, str]) -> Head:
        if entry.length < 1:
            raise DataError(entry.listed_in, "length", f"{entry.length} frames are no episode.")
        for key, clip in entry.clips.items():
            # A span longer than the rows is an episode trimmed by its metadata.
            frames = None if clip.end is None else round((clip.end - clip.begin) * self.spec.fps)
            if frames is not None and frames < entry.length:
                self.findings.append(
                    DataFinding(
                        code="frame-count",
                        severity="note",
                        episode=name,
                        field=f"videos/{key}/to_timestamp",
                        text=f"spans {frames} frames, and there are {entry.length} rows; they are "
                        "looked up by their time, beyond the span's end too.",
                    )
                )
        task = entry.task
        if not task and tasks:
            numbers_of = self._slice(entry, ("task_index",))["task_index"]
            task = tasks.get(int(numbers_of[0].as_py() or 0), "")
        return Head(
            id=name,
            length=entry.length,
            task=task,
            success=self._success(entry),
            split=str(entry.ours.get("split") or "train"),
            source=str(entry.ours.get("source") or ""),
        )

    def _success(self, entry: Entry) -> bool | None:
        if "success" in entry.ours:
            kept = entry.ours["success"]
            return None if kept is None else bool(kept)
        if not self._flagged:
            return None
        flags = self._slice(entry, (SUCCESS,))[SUCCESS].to_pylist()
        return any(bool(flag) for flag in flags)

    def _video_file(self, entry: Entry, key: str) -> Path:
        """Where it lies, looked up once a file: following links takes longer than reading on."""
        name = entry.clips[key].file
        if name not in self._video_files:
            found = inside(self.path, name, owner=entry.listed_in, field=f"videos/{key}")
            self._video_files[name] = found
        return self._video_files[name]

    def _rows_file(self, entry: Entry) -> Path:
        return inside(self.path, entry.rows, owner=entry.listed_in, field="data")

    def _slice(self, entry: Entry, columns: Sequence[str]) -> pa.Table:
        """The rows of an episode, found by its number and checked against the index."""
        file = self._rows_file(entry)
        state = file.stat()
        table = _columns(file, (*columns, "episode_index"), state.st_mtime_ns, state.st_size)
        owner = table["episode_index"].to_numpy()
        here = np.flatnonzero(owner == entry.number)
        if len(here) != entry.length:
            raise DataError(
                file,
                "episode_index",
                f"{len(here)} rows are of episode {entry.number}, and {entry.listed_in.name} says "
                f"{entry.length}.",
            )
        if here[-1] - here[0] + 1 != len(here):
            raise DataError(file, "episode_index", f"episode {entry.number} is not in one piece.")
        return table.slice(int(here[0]), len(here))

    def _images(self, entry: Entry, key: str, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
        file = self._rows_file(entry)
        cells = self._slice(entry, (key,))[key]
        size = self.spec.views[view_name(key)]
        out = np.empty((len(rows), *size, 3), np.uint8)
        for place, row in enumerate(rows):
            cell = cells[int(row)].as_py()
            content = cell.get("bytes") if isinstance(cell, dict) else cell
            if not isinstance(content, bytes):
                raise DataError(file, f"{key}[{row}]", "the image is not stored in the table.")
            try:
                image = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
            except (
                UnidentifiedImageError,
                OSError,
                TypeError,
                Image.DecompressionBombError,
            ) as why:
                raise DataError(file, f"{key}[{row}]", f"no readable image ({why}).") from why
            if image.shape != out.shape[1:]:
                raise DataError(file, f"{key}[{row}]", f"it is {image.shape}, not {out.shape[1:]}.")
            out[place] = image
        return out

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
                        text=f"{where} says {info.get(field)}; {found} can be read.",
                    )
                )


@lru_cache(maxsize=OPEN_TABLES)
def _columns(file: Path, columns: tuple[str, ...], *_identity: int) -> pa.Table:
    return read_table(file, columns)


def _matrix(column: pa.ChunkedArray, file: Path, name: str) -> Float32[Array, "t d"]:
    plain = pa.concat_arrays(column.chunks)
    if column.null_count:
        raise DataError(file, name, f"{column.null_count} rows are empty.")
    if not pa.types.is_list(plain.type) and not pa.types.is_fixed_size_list(plain.type):
        return numbers(plain.to_numpy(zero_copy_only=False), file, name)
    sizes = pc.call_function("list_value_length", [plain]).unique().to_pylist()
    if len(sizes) != 1 or not sizes[0]:
        raise DataError(file, name, f"its rows have {sizes[:5]} numbers, not the same many.")
    flat = plain.flatten().to_numpy(zero_copy_only=False)
    return numbers(flat.reshape(len(plain), sizes[0]), file, name)


def _image_keys(features: Mapping[str, Any], where: Path) -> dict[str, str]:
    """view -> feature, for every image and video."""
    keys = {}
    for key, feature in features.items():
        dtype = feature.get("dtype") if isinstance(feature, dict) else None
        if dtype is None:
            raise DataError(where, f"features.{key}", "it has no dtype.")
        if dtype not in ("image", "video"):
            continue
        shape, names = feature.get("shape"), feature.get("names") or ()
        if not (isinstance(shape, list) and len(shape) == 3 and all(_side(n) for n in shape)):
            raise DataError(where, f"features.{key}.shape", f"{shape!r} is no image shape.")
        if tuple(names)[:1] == ("channels",) or (shape[0] == 3 and shape[2] != 3):
            feature["shape"] = [shape[1], shape[2], shape[0]]  # some datasets say CHW
        keys[view_name(key)] = key
    if not keys:
        raise DataError(where, "features", "there is no image or video among them.")
    return keys


def _side(value: object) -> bool:
    return isinstance(value, int) and 0 < value <= 8192


def _vector(features: Mapping[str, Any], key: str, where: Path) -> None:
    feature = features.get(key)
    if feature is None:
        raise DataError(
            where, f"features.{key}", f"it is missing (there is {', '.join(features)})."
        )
    shape = feature.get("shape")
    if not (isinstance(shape, list) and len(shape) == 1 and _side(shape[0])):
        raise DataError(where, f"features.{key}.shape", f"{shape!r} is not one row of numbers.")
