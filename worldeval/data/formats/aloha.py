# h5py types every item as a group, dataset or datatype.
# pyright: reportArgumentType=false
"""ACT / ALOHA: an HDF5 file per episode, `action`, `observations/{qpos,images/<camera>}`.

The pose is `qpos`, joint angles in radians including the grippers. Most files contain neither task
nor success, and only some give a rate (`fps`); otherwise it is ALOHA's 50 per second. A file's
attributes `task`, `success` and `source` (who controlled the robot) are read if it has them.

Compressed images do not state their channel order: ALOHA's own scripts pass RGB to OpenCV, which
expects BGR, and pad the bytes to one length; other tools store true RGB.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from worldeval.axes import Array, Float, Int, UInt8
from worldeval.data.columns import ColumnGroup, ColumnMeanings, Groups
from worldeval.data.data_map import Channels, DataMap
from worldeval.data.depth import grey, left_out
from worldeval.data.files import listed, own_file, rate
from worldeval.data.finding import DataError, DataFinding, skipped, why_none
from worldeval.data.formats import hdf5
from worldeval.data.names import numbered
from worldeval.data.packed import PACKED, unpacked
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.truth import truth

ACTION, QPOS, IMAGES = "action", "observations/qpos", "observations/images"
FPS = 50.0
SIDE = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
JOINTS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in SIDE)


class AlohaSource(Source):
    """A folder of `episode_<i>.hdf5` files, or one such file."""

    UNDERSTANDS = (
        "action.keys", "pose.keys", "views", "channels", "depth", "reward", "task_key"
    )  # fmt: skip

    def __init__(self, path: Path, given: DataMap | None = None) -> None:
        self.path, self.given = path, given or DataMap()
        self._action_keys = self.given.action.keys or (ACTION,)
        self._pose_keys = self.given.pose.keys or (QPOS,)
        self._view_keys: dict[str, str] = dict(self.given.views)
        self._channels: Channels | None = self.given.channels
        self._depths: dict[str, None] = {}  # not mentioned by the map
        self.findings: list[DataFinding] = []
        self.heads: list[Head] = []
        self._files: list[Path] = []
        files = [path] if path.is_file() else sorted(_listed(path), key=_number)
        views: dict[str, tuple[int, int]] = {}
        sizes: tuple[int, int] | None = None
        fps: float | None = None
        for file in files:
            try:
                if path.is_dir():
                    own_file(path, file)
                with hdf5.opened(file) as opened:
                    found, rows, length, own = self._look(file, opened)
                    task = self._task(opened, file)
                    success = _success(opened, file)
                    driver = hdf5.text(hdf5.attribute(opened, "source", file, ""))
                if sizes is None:
                    views, sizes, fps = found, rows, own
                if (found, rows, own) != (views, sizes, fps):
                    raise DataError(
                        file,
                        "observations",
                        f"views, dimensions and frame rate are {(found, rows, own)}, but "
                        f"{(views, sizes, fps)} in {files[0].name}.",
                    )
            except DataError as error:
                self.findings.append(skipped(file.stem, error))
                continue
            self.heads.append(
                Head(id=file.stem, length=length, task=task, success=success, source=driver)
            )
            self._files.append(file)
        if sizes is None:
            why = why_none(self.findings, "there is no HDF5 file (*.hdf5).")
            raise DataError(path, "file", f"no episode can be read: {why}")
        self.findings += left_out(self._depths)
        if fps is None:
            self._odd("fps-guessed", "fps", f"the files state no frame rate; assuming {FPS:g} fps.")
        if all(head.success is None for head in self.heads):
            self._odd("no-success", "success", "the files do not state which episodes succeeded.")
        actions, pose = sizes
        self.spec = SourceSpec(
            format="aloha",
            path=path,
            fps=fps or FPS,
            views=views,
            action_names=JOINTS if actions == len(JOINTS) else numbered("action", actions),
            pose_names=JOINTS if pose == len(JOINTS) else numbered("qpos", pose),
            meaning=ColumnMeanings(
                action=_joints() if actions == len(JOINTS) else (),
                pose=_joints() if pose == len(JOINTS) else (),
            ),
            read_as=replace(
                self.given,
                action=replace(self.given.action, keys=self._action_keys),
                pose=replace(self.given.pose, keys=self._pose_keys),
                views=self._view_keys,
                channels=self._channels,
            ),
        )

    @staticmethod
    def detect(path: Path) -> bool:
        """Accept an HDF5 file with `observations/qpos`, or a folder of such files."""
        for file in [path] if path.is_file() else _listed(path):
            try:
                with hdf5.opened(file) as opened:
                    return "action" in opened and "observations/qpos" in opened
            except DataError:
                continue
        return False

    def rows(self, index: int) -> Rows:
        file, length = self._files[index], self.heads[index].length
        with hdf5.opened(file) as opened:
            acted, posed = (
                np.concatenate([_table(opened, key, file)[:length] for key in keys], axis=1)
                for keys in (self._action_keys, self._pose_keys)
            )
        return Rows(actions=acted, pose=posed)

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        name, file = (self.given.reward or key) if key == "reward" else key, self._files[index]
        with hdf5.opened(file) as opened:
            table = _table(opened, name, file)
        if table.shape[1] != 1 or len(table) < self.heads[index].length:
            raise DataError(
                file, name, f"its shape is {table.shape}; expected one value per frame."
            )
        return table[: self.heads[index].length, 0].astype(np.float64)

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        self.choose([view])
        file = self._files[index]
        wanted = np.arange(self.heads[index].length) if rows is None else np.asarray(rows)
        with hdf5.opened(file) as opened:
            key = self._view_keys[view]
            found = _camera(opened, key, file)
            if key in self.given.depth:
                return grey(hdf5.pictures(found, file, wanted), *self.given.depth[key])
            if hdf5.is_images(found):
                return hdf5.images(found, file, wanted)
            out = np.empty((len(wanted), *self.spec.views[view], 3), np.uint8)
            for place, row in enumerate(wanted):
                frame = unpacked(found[int(row)], file, f"{found.name}[{row}]", self._channels)
                if frame.shape != out.shape[1:]:
                    size = self.spec.views[view]
                    words = f"images are {frame.shape[:2]}, but {size} in other episodes."
                    raise DataError(file, f"{found.name}[{row}]", words)
                out[place] = frame
            return out

    def _look(self, file: Path, opened: h5py.File):
        """Determine views, numbers of dimensions, length and rate of one episode."""
        widths, counts = [], {}
        for keys in (self._action_keys, self._pose_keys):
            tables = {key: _table(opened, key, file) for key in keys}
            counts |= {key.rsplit("/", 1)[-1]: len(table) for key, table in tables.items()}
            widths.append(sum(table.shape[1] for table in tables.values()))
        if not self.given.views:
            cameras = hdf5.group(hdf5.group(opened, "observations", file), "images", file)
            self._view_keys |= {str(view): f"{IMAGES}/{view}" for view in cameras}
        views = {}
        for view, key in list(self._view_keys.items()):
            found = _camera(opened, key, file)
            size = self._size(found, key, file)
            if size is None:
                self._depths[key] = None
                del self._view_keys[view]
                continue
            views[view], counts[view] = size, len(found)
        length = min(counts.values())
        if not views or length < 1:
            raise DataError(file, "observations/images", f"the episode has no frames ({counts}).")
        if len(set(counts.values())) > 1:
            self._odd("frame-count", "observations", f"{counts}; {length} are used.", file.stem)
        fps = hdf5.attribute(opened, "fps", file)
        own = None if fps is None else rate(fps, file)
        return views, tuple(widths), length, own

    def _size(self, found: h5py.Dataset, key: str, file: Path) -> tuple[int, int] | None:
        """Return height and width of a camera's images; None if they are depth to be excluded."""
        if hdf5.is_images(found):
            return found.shape[1], found.shape[2]
        if key in self.given.depth and found.ndim >= 3:
            return found.shape[1], found.shape[2]
        if hdf5.is_depth(found):
            return None
        padded = found.dtype == np.uint8 and found.ndim == 2
        if not len(found) or not (padded or (found.ndim == 1 and found.dtype.kind in PACKED)):
            raise DataError(file, key, f"{found.dtype} {found.shape} is not an array of frames.")
        if self._channels is None:
            self._channels = "bgr" if padded else "rgb"
            why = "padded to equal length, as ALOHA's own scripts do" if padded else "not padded"
            self.findings.append(
                DataFinding(
                    code="channels-guessed",
                    severity="warning",
                    episode=None,
                    field=key,
                    text=f"packed images do not state their channel order; these are {why}, so "
                    f"{self._channels} is assumed. Check the contact sheet (data inspect). If red "
                    "and blue are swapped, give a map with channels: "
                    f"{'rgb' if padded else 'bgr'}.",
                )
            )
        return unpacked(found[0], file, f"{found.name}[0]", self._channels).shape[:2]

    def _task(self, opened: h5py.File, file: Path) -> str:
        key = self.given.task_key
        if not key:
            return hdf5.text(hdf5.attribute(opened, "task", file, ""))
        said = hdf5.attribute(opened, key, file)
        if said is not None:
            return hdf5.text(said)
        values = np.asarray(hdf5.dataset(opened, key, file)[()]).reshape(-1)
        if not len(values):
            raise DataError(file, key, "it is empty; expected the task text.")
        return hdf5.text(values[0])

    def _odd(self, code: str, field: str, words: str, episode: str | None = None) -> None:
        self.findings.append(
            DataFinding(code=code, severity="note", episode=episode, field=field, text=words)
        )


def _table(opened: h5py.File, key: str, file: Path):
    """Read the numbers at a path inside the file."""
    *parents, name = key.split("/")
    place: h5py.Group = opened
    for parent in parents:
        place = hdf5.group(place, parent, file)
    return hdf5.table(place, name, file)


def _camera(opened: h5py.File, key: str, file: Path) -> h5py.Dataset:
    *parents, name = key.split("/")
    place: h5py.Group = opened
    for parent in parents:
        place = hdf5.group(place, parent, file)
    return hdf5.dataset(place, name, file)


def _success(opened: h5py.File, file: Path) -> bool | None:
    try:
        return truth(hdf5.attribute(opened, "success", file), unknown=-1)
    except ValueError as error:
        raise DataError(file, "success", f"{error}.") from error


def _joints() -> Groups:
    """ALOHA's 14 columns: a guess, because they are recognised by their number alone."""
    groups: list[ColumnGroup] = []
    for arm, own in (("left", JOINTS[:7]), ("right", JOINTS[7:])):
        shared: Mapping = {"arm": arm, "guessed": True}
        groups.append(ColumnGroup(names=own[:6], means="joint", unit="rad", **shared))
        groups.append(ColumnGroup(names=own[6:], means="gripper", **shared))
    return tuple(groups)


def _listed(path: Path) -> list[Path]:
    return listed(path, "*.hdf5", "*.h5") if path.is_dir() else []


def _number(file: Path) -> tuple[int, str]:
    found = re.search(r"\d+$", file.stem)
    return int(found.group()) if found else 0, file.stem
