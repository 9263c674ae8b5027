# zarr types every item as a group, array or number.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Diffusion Policy's Zarr: episodes end to end in `data/*`, divided at `meta/episode_ends`.

Stores of version 2 and 3, as a folder or zipped. They contain no rate, task or success.
"""

import struct
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.axes import Array, Float, Int, UInt8
from worldeval.data.columns import ColumnGroup, ColumnMeanings
from worldeval.data.data_map import DataMap
from worldeval.data.depth import grey, left_out
from worldeval.data.files import numbers
from worldeval.data.finding import DataError, DataFinding, skipped
from worldeval.data.formats.zarr_store import (
    bounded_array,
    know_more_codecs,
    missing_codec,
    refuse_bombs,
    refuse_links,
)
from worldeval.data.names import numbered
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.errors import UserError

FPS = 10.0  # of the published datasets (push-T, UMI subsampled to 10 Hz)
ACTION = "action"
# The pose is read from the first of these sets of arrays that exists.
POSES = (
    ("state",),
    ("agent_pos",),
    ("robot0_eef_pos", "robot0_eef_rot_axis_angle", "robot0_gripper_width"),
)
META = (".zgroup", "zarr.json")
BLOSC_HEAD = 16  # bytes


class DiffusionPolicySource(Source):
    """One Zarr store."""

    UNDERSTANDS = ("action.keys", "pose.keys", "views", "depth", "reward")

    def __init__(self, path: Path, given: DataMap | None = None) -> None:
        self.path, self.given = path, given or DataMap()
        self.findings: list[DataFinding] = []
        self._group = _open(path)
        data = {name: self._array(f"data/{name}") for name in self._names("data")}
        self._action_keys = self.given.action.keys or (ACTION,)
        for key in (*self._action_keys, *self.given.pose.keys, *self.given.views.values()):
            if key not in data:
                raise DataError(
                    path, f"data/{key}", f"it is missing (available: {', '.join(data)})."
                )
        self._views = self._choose_views(data)
        cameras = {key: data[key] for key in self._views.values()}
        self._pose_keys = self._choose_pose(data)
        used = {name: data[name] for name in (*self._action_keys, *self._pose_keys, *cameras)}
        self.heads, self._begins = self._cut(min(kept.shape[0] for kept in used.values()))
        counts = {name: kept.shape[0] for name, kept in used.items()}
        if len(set(counts.values())) > 1:
            self._odd("frame-count", "data", f"arrays have different lengths: {counts}.")
        self._look_for_gaps(used)
        if path.is_dir():
            for name in ("meta/episode_ends", *(f"data/{name}" for name in used)):
                _refuse_cut_chunks(path / name)
        self._odd("fps-guessed", "fps", f"the format has no frame rate; assuming {FPS:g} fps.")
        self._odd("no-success", "success", "the format does not state which episodes succeeded.")
        pose = {key: _width(data[key], path, key) for key in self._pose_keys}
        acted = {key: _width(data[key], path, key) for key in self._action_keys}
        pose_names = tuple(name for key, size in pose.items() for name in numbered(key, size))
        self.spec = SourceSpec(
            format=f"diffusion-policy-zarr-v{self._group.metadata.zarr_format}",
            path=path,
            fps=FPS,
            views={view: tuple(data[key].shape[1:3]) for view, key in self._views.items()},
            action_names=tuple(name for key, size in acted.items() for name in numbered(key, size)),
            pose_names=pose_names,
            meaning=ColumnMeanings(pose=self._pose_meaning(data, pose_names)),
            read_as=replace(
                self.given,
                action=replace(self.given.action, keys=self._action_keys),
                pose=replace(self.given.pose, keys=self._pose_keys),
                views=self._views,
            ),
        )
        self._scale = {key: self._look_at_range(key) for key in cameras}

    @staticmethod
    def detect(path: Path) -> bool:
        """Accept a store with the groups `data` and `meta`, or a zipped one by its name."""
        if path.is_file():
            return path.name.endswith(".zarr.zip")
        return all(any((path / sub / name).is_file() for name in META) for sub in ("data", "meta"))

    def rows(self, index: int) -> Rows:
        begin, end = self._span(index)
        acted, posed = (
            [numbers(self._read(f"data/{k}", begin, end), self.path, f"data/{k}") for k in keys]
            for keys in (self._action_keys, self._pose_keys)
        )
        return Rows(actions=np.concatenate(acted, axis=1), pose=np.concatenate(posed, axis=1))

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        begin, end = self._span(index)
        name = f"data/{(self.given.reward or key) if key == 'reward' else key}"
        table = numbers(self._read(name, begin, end), self.path, name, columns=1)
        return table[:, 0].astype(np.float64)

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        self.choose([view])
        begin, end = self._span(index)
        if rows is None:
            return self._bytes(view, begin, end)
        wanted, where = np.unique(rows, return_inverse=True)
        if len(wanted) and not (wanted[0] >= 0 and wanted[-1] < end - begin):
            raise DataError(self.path, f"data/{view}", f"frame {wanted[-1]} is not in the episode.")
        parts = [
            self._bytes(view, begin + int(run[0]), begin + int(run[-1]) + 1)
            for run in np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1)
            if len(run)
        ]
        return np.concatenate(parts)[where] if parts else self._bytes(view, begin, begin)

    def _bytes(self, view: str, begin: int, end: int) -> UInt8[Array, "n h w 3"]:
        key = self._views[view]
        kept = self._read(f"data/{key}", begin, end)
        if key in self.given.depth:
            return grey(kept, *self.given.depth[key])
        if kept.dtype == np.uint8:
            return kept
        values = np.nan_to_num(kept.astype(np.float32)) * self._scale[key]
        if values.size and not (values.min() >= 0 and values.max() <= 255.5):
            raise DataError(
                self.path,
                f"data/{key}",
                f"frames {begin} to {end} contain {kept.min():g} to {kept.max():g}, but others "
                f"0 to {255 / self._scale[key]:g}, so the value of white is unknown.",
                "Store the images as uint8 (0 to 255).",
            )
        return values.round().clip(0, 255).astype(np.uint8)

    def _look_at_range(self, key: str) -> float:
        """Find the factor from stored brightness to 0-255, using images from all over the store."""
        if key in self.given.depth or self._array(f"data/{key}").dtype == np.uint8:
            return 1.0
        firsts = [self._begins[i] for i in _spread(len(self._begins))]
        lasts = [self._span(i)[1] - 1 for i in _spread(len(self._begins))]
        seen = [self._read(f"data/{key}", row, row + 1) for row in sorted({*firsts, *lasts})]
        low = min(float(np.nanmin(one, initial=0)) for one in seen)
        high = max(float(np.nanmax(one, initial=0)) for one in seen)
        if low < 0 or high > 255.5:
            raise DataError(
                self.path,
                f"data/{key}",
                f"images contain {low:g} to {high:g}; expected 0 to 1 or 0 to 255.",
                "Store them as uint8 (0 to 255). If they are depth, name them in a map (depth:).",
            )
        floats = seen[0].dtype.kind == "f"
        scale = 255.0 if floats and high <= 1 else 1.0
        if floats:
            self._odd(
                "scale-guessed", f"data/{key}", f"images are floats up to {high:g}; they are "
                f"read as 0 to {255 / scale:g}, and frames outside this range are refused."
            )  # fmt: skip
        return scale

    def _choose_views(self, data: dict[str, Any]) -> dict[str, str]:
        """Choose the array of every view (view -> array)."""
        depths = [name for name, kept in data.items() if _is_depth(kept)]
        if self.given.views:
            for key in self.given.views.values():
                if not _is_images(data[key]) and key not in self.given.depth:
                    words = f"it is {data[key].dtype} {data[key].shape}, not images (t, h, w, 3)."
                    raise DataError(self.path, f"data/{key}", words)
            return dict(self.given.views)
        cameras = [name for name, kept in data.items() if _is_images(kept)]
        cameras += [name for name in depths if name in self.given.depth]
        if not cameras:
            raise DataError(self.path, "data", "there are no images (t, h, w, 3).")
        self.findings += left_out(name for name in depths if name not in self.given.depth)
        return {name: name for name in cameras}

    def _pose_meaning(self, data: dict[str, Any], found: tuple[str, ...]) -> tuple:
        """push-T's `state`: the agent's position in pixels, then the block's, not sensed."""
        push_t = tuple(data["keypoint"].shape[1:]) == (9, 2) if "keypoint" in data else False
        if self._pose_keys == ("state",) and push_t and len(found) == 5:
            if not self.given.pose.columns:
                self._odd(
                    "object-state", "data/state", "columns 2 to 4 are the block's pose in push-T, "
                    "which a robot cannot measure, so they are excluded. To change this, give a "
                    "map (pose: columns:)."
                )  # fmt: skip
            return (
                ColumnGroup(names=found[:2], means="planar", unit="px", guessed=True),
                ColumnGroup(names=found[2:], means="object", guessed=True),
            )
        if self._pose_keys == ("state",) and not self.given.pose.columns:
            self._odd(
                "pose-guessed", "data/state", "all columns are assumed to be the robot's own pose. "
                "If some describe objects, give a map (pose: columns: means: object)."
            )  # fmt: skip
        if self._pose_keys == POSES[2] and len(found) == 7:
            return (
                ColumnGroup(names=found[:3], means="position", unit="m"),
                ColumnGroup(names=found[3:6], means="rotation", form="axis-angle", unit="rad"),
                ColumnGroup(names=found[6:], means="gripper", unit="m"),
            )
        return ()

    def _span(self, index: int) -> tuple[int, int]:
        begin = self._begins[index]
        return begin, begin + self.heads[index].length

    def _cut(self, rows: int) -> tuple[list[Head], list[int]]:
        field = "meta/episode_ends"
        ends = np.asarray(self._read(field, 0, None))
        if ends.ndim != 1 or ends.dtype.kind not in "iu" or not len(ends):
            raise DataError(self.path, field, f"it is {ends.dtype} {ends.shape}, not row numbers.")
        heads, begins, begin = [], [], 0
        for number, end in enumerate(ends.astype(np.int64).tolist()):
            name = str(number)
            if not begin < end <= rows:
                problem = DataError(
                    self.path, f"{field}[{number}]", f"{end} is not in ({begin}, {rows}]."
                )
                self.findings.append(skipped(name, problem))
                begin = max(begin, min(end, rows))
                continue
            heads.append(Head(id=name, length=end - begin, task="", success=None))
            begins.append(begin)
            begin = end
        if not heads:
            raise DataError(self.path, field, f"no episode can be read: {self.findings[0].text}")
        if begin < rows:
            self._odd(
                "rows-unused", field, f"{rows - begin} rows follow the last episode and are unused."
            )
        return heads, begins

    def _look_for_gaps(self, used: dict[str, Any]) -> None:
        # A missing chunk reads as zeros: intended if all its values are zero, otherwise data loss.
        for name, kept in used.items():
            if kept.nchunks_initialized < kept.nchunks:
                lost = kept.nchunks - kept.nchunks_initialized
                self.findings.append(
                    DataFinding(
                        code="chunks-missing",
                        severity="warning",
                        episode=None,
                        field=f"data/{name}",
                        text=f"{lost} of {kept.nchunks} chunks are not stored and are read as "
                        f"{kept.fill_value}. If this is not intended, copy the store again.",
                    )
                )

    def _choose_pose(self, data: dict[str, Any]) -> tuple[str, ...]:
        if self.given.pose.keys:
            return self.given.pose.keys
        for keys in POSES:
            if all(key in data for key in keys):
                return keys
        keys = tuple(name for name, kept in data.items() if kept.ndim == 2 and name != ACTION)
        if not keys:
            raise DataError(self.path, "data", f"there is no state (available: {', '.join(data)}).")
        self._odd("pose-guessed", "data", f"assuming {', '.join(keys)} as the pose.")
        return keys

    def _names(self, group: str) -> list[str]:
        try:
            with warnings.catch_warnings():  # about files that are not arrays, such as macOS leaves
                warnings.simplefilter("ignore")
                return sorted(self._group[group].array_keys())
        except Exception as error:  # a damaged store can make zarr raise anything
            raise DataError(
                self.path, group, f"it cannot be listed ({error}).", missing_codec(error)
            ) from error

    def _array(self, name: str):
        try:
            kept = self._group[name]
            sound = kept.ndim > 0 and min(kept.chunks) > 0
            if kept.dtype.kind not in "fiub" or not sound:
                words = f"it is {kept.dtype} {kept.shape}, not an array of numbers."
                raise DataError(self.path, name, words)
            bounded_array(kept, self.path, name)
            return kept
        except DataError:
            raise
        except Exception as error:  # a damaged store can make zarr raise anything
            raise DataError(
                self.path, name, f"it is not a readable array ({error}).", missing_codec(error)
            ) from error

    def _read(self, name: str, begin: int, end: int | None) -> Array:
        kept = self._array(name)
        try:
            return np.asarray(kept[begin:end])
        except Exception as error:  # a damaged store can make zarr raise anything
            raise DataError(
                self.path, name, f"it cannot be read ({error}).", missing_codec(error)
            ) from error

    def _odd(self, code: str, field: str, words: str) -> None:
        self.findings.append(
            DataFinding(code=code, severity="note", episode=None, field=field, text=words)
        )


def _open(path: Path):
    try:
        import zarr
        from zarr.storage import LocalStore, ZipStore
    except ImportError as error:
        raise UserError("Reading Zarr stores needs zarr: pip install 'worldeval[zarr]'.") from error
    if path.is_dir():
        refuse_links(path)
    else:
        refuse_bombs(path)
    know_more_codecs()
    try:
        store = ZipStore(path, mode="r") if path.is_file() else LocalStore(path, read_only=True)
        return zarr.open_group(store, mode="r")
    except Exception as error:  # a damaged store can make zarr raise anything
        raise DataError(
            path, "store", f"it is not a readable Zarr group ({error}).", missing_codec(error)
        ) from error


def _refuse_cut_chunks(folder: Path) -> None:
    """Refuse blosc chunks that are too short, because numcodecs reads past their end."""
    if not _is_blosc(folder):
        return
    for file in folder.rglob("*"):
        if file.name[0].isdigit() and file.is_file():
            with file.open("rb") as opened:
                head = opened.read(BLOSC_HEAD)
            size = file.stat().st_size
            # A chunk stores its own length in bytes 12 to 15.
            claimed = struct.unpack_from("<I", head.ljust(BLOSC_HEAD, b"\0"), 12)[0]
            if claimed != size:
                raise DataError(
                    file, "chunk", f"it has {size} bytes, but its header states {claimed}."
                )


def _is_blosc(folder: Path) -> bool:
    """Whether the array's chunks are compressed by blosc, according to its metadata."""
    for name in (".zarray", "zarr.json"):
        if (folder / name).is_file():
            return '"blosc"' in (folder / name).read_text(errors="replace")
    return False


def _is_images(kept: Any) -> bool:
    return kept.ndim == 4 and kept.shape[-1] == 3 and kept.dtype.kind in "fui"


def _is_depth(kept: Any) -> bool:
    """Whether values are (t, h, w) or (t, h, w, 1) of over a byte each, and no small matrices."""
    shaped = kept.ndim == 3 or (kept.ndim == 4 and kept.shape[-1] == 1)
    return (
        shaped and min(kept.shape[1:3]) > 8 and kept.dtype.itemsize > 1 and kept.dtype.kind in "fui"
    )


def _spread(count: int) -> list[int]:
    """Return at most 24 evenly spaced indices below `count`."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, 24))})


def _width(kept: Any, path: Path, key: str) -> int:
    if kept.ndim > 2:
        raise DataError(
            path, f"data/{key}", f"its shape is {kept.shape}; expected one row per frame."
        )
    return 1 if kept.ndim == 1 else int(kept.shape[1])
