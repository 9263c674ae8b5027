# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false
"""ACT / ALOHA: an HDF5 file per episode, `action`, `observations/{qpos,images/<camera>}`.

The pose is `qpos`, joint angles in radians with the grippers among them. The files hold neither
task nor success; a rate is there only in some (`fps`), else it is ALOHA's 50 a second.
"""

import io
import re
from pathlib import Path

import h5py
import numpy as np
from PIL import Image, UnidentifiedImageError

from worldeval.axes import Array, Int, UInt8
from worldeval.data.files import rate
from worldeval.data.finding import DataError, DataFinding, skipped
from worldeval.data.formats import hdf5
from worldeval.data.names import numbered
from worldeval.data.source import Head, Rows, Source, SourceSpec

FPS = 50.0
SIDE = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
JOINTS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in SIDE)


class AlohaSource(Source):
    """A folder of `episode_<i>.hdf5`, or one such file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings: list[DataFinding] = []
        self.heads: list[Head] = []
        self._files: list[Path] = []
        files = [path] if path.is_file() else sorted(_listed(path), key=_number)
        views: dict[str, tuple[int, int]] = {}
        sizes: tuple[int, int] | None = None
        fps: float | None = None
        for file in files:
            try:
                with hdf5.opened(file) as opened:
                    found, rows, length, own = self._look(file, opened)
                    task = hdf5.text(opened.attrs.get("task", ""))
                if sizes is None:
                    views, sizes, fps = found, rows, own
                if (found, rows, own) != (views, sizes, fps):
                    raise DataError(
                        file,
                        "observations",
                        f"views, dimensions and rate are {(found, rows, own)}, in {files[0].name} "
                        f"{(views, sizes, fps)}.",
                    )
            except DataError as error:
                self.findings.append(skipped(file.stem, error))
                continue
            self.heads.append(Head(id=file.stem, length=length, task=task, success=None))
            self._files.append(file)
        if sizes is None:
            why = self.findings[0].text if self.findings else "there is no HDF5 file."
            raise DataError(path, "file", f"no episode can be read: {why}")
        if fps is None:
            self._odd("fps-guessed", "fps", f"no rate is given; {FPS:g} fps is taken.")
        self._odd("no-success", "success", "this format does not say which episodes succeeded.")
        actions, pose = sizes
        self.spec = SourceSpec(
            format="aloha",
            path=path,
            fps=fps or FPS,
            views=views,
            action_names=JOINTS if actions == len(JOINTS) else numbered("action", actions),
            pose_names=JOINTS if pose == len(JOINTS) else numbered("qpos", pose),
        )

    @staticmethod
    def detect(path: Path) -> bool:
        """An HDF5 file with `observations/qpos`, or a folder with such files."""
        file = path if path.is_file() else next(iter(sorted(_listed(path))), path)
        try:
            with hdf5.opened(file) as opened:
                return "action" in opened and "observations/qpos" in opened
        except DataError:
            return False

    def rows(self, index: int) -> Rows:
        file, length = self._files[index], self.heads[index].length
        with hdf5.opened(file) as opened:
            actions = hdf5.table(opened, "action", file)[:length]
            pose = hdf5.table(hdf5.group(opened, "observations", file), "qpos", file)[:length]
        return Rows(actions=actions, pose=pose)

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        self.choose([view])
        file = self._files[index]
        wanted = np.arange(self.heads[index].length) if rows is None else np.asarray(rows)
        with hdf5.opened(file) as opened:
            found = hdf5.dataset(_cameras(opened, file), view, file)
            if found.ndim == 4:
                return hdf5.images(found, file, wanted)
            out = np.empty((len(wanted), *self.spec.views[view], 3), np.uint8)
            for place, row in enumerate(wanted):
                out[place] = _unpacked(found, int(row), file, self.spec.views[view])
            return out

    def _look(self, file: Path, opened: h5py.File):
        """Views, numbers of dimensions, length and rate of one episode."""
        actions = hdf5.table(opened, "action", file)
        pose = hdf5.table(hdf5.group(opened, "observations", file), "qpos", file)
        counts = {"action": len(actions), "qpos": len(pose)}
        views = {}
        cameras = _cameras(opened, file)
        for view in cameras:
            found = hdf5.dataset(cameras, view, file)
            counts[view] = len(found)
            if hdf5.is_images(found):
                views[view] = (found.shape[1], found.shape[2])
            elif found.dtype == np.uint8 and found.ndim == 2 and len(found):  # padded JPEG
                views[view] = _unpacked(found, 0, file).shape[:2]
            else:
                raise DataError(
                    file, f"images/{view}", f"{found.dtype} {found.shape} are no frames."
                )
        length = min(counts.values())
        if not views or length < 1:
            raise DataError(file, "observations/images", f"there is no frame ({counts}).")
        if len(set(counts.values())) > 1:
            self._odd("frame-count", "observations", f"{counts}; {length} are used.", file.stem)
        fps = opened.attrs.get("fps")
        own = None if fps is None else rate(np.asarray(fps).item(), file)
        return views, (actions.shape[1], pose.shape[1]), length, own

    def _odd(self, code: str, field: str, words: str, episode: str | None = None) -> None:
        self.findings.append(
            DataFinding(code=code, severity="note", episode=episode, field=field, text=words)
        )


def _cameras(opened: h5py.File, file: Path) -> h5py.Group:
    return hdf5.group(hdf5.group(opened, "observations", file), "images", file)


def _unpacked(
    found: h5py.Dataset, row: int, file: Path, size: tuple[int, int] | None = None
) -> UInt8[Array, "h w 3"]:
    """A frame stored as JPEG bytes padded with zeros, as ALOHA's `--compress` does."""
    try:
        with Image.open(io.BytesIO(found[row].tobytes())) as image:
            # OpenCV packed these: what it called RGB, it stored as BGR.
            frame = np.asarray(image.convert("RGB"))[..., ::-1]
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, IndexError) as error:
        raise DataError(file, f"{found.name}[{row}]", f"no readable image ({error}).") from error
    if size is not None and frame.shape[:2] != size:
        raise DataError(file, f"{found.name}[{row}]", f"it is {frame.shape[:2]}, others {size}.")
    return np.ascontiguousarray(frame)


def _listed(path: Path) -> list[Path]:
    return [*path.glob("*.hdf5"), *path.glob("*.h5")] if path.is_dir() else []


def _number(file: Path) -> tuple[int, str]:
    found = re.search(r"\d+$", file.stem)
    return int(found.group()) if found else 0, file.stem
