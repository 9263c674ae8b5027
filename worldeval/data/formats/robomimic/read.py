# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalMemberAccess=false
"""Read a robomimic HDF5 file: `data/demo_i` with `actions`, `rewards`, `obs/<key>`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from worldeval.axes import Array, Int, UInt8
from worldeval.data.files import rate
from worldeval.data.finding import DataError, DataFinding, skipped
from worldeval.data.formats import hdf5
from worldeval.data.names import numbered
from worldeval.data.source import Head, Rows, Source, SourceSpec

FPS = 20.0  # robosuite's control rate, where the file gives none
IMAGE = "_image"  # robosuite's suffix of camera observations
# The pose, from the first of these sets of observations that is there.
POSES = (
    ("pose",),
    ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos"),
    ("ee_pos", "ee_ori", "gripper_states"),
)
PRIVILEGED = "object"  # the simulator's knowledge of objects, not the robot's of itself


class RobomimicSource(Source):
    """One HDF5 file. Success is a positive reward, unknown where no demonstration has one."""

    def __init__(self, path: Path) -> None:
        self.file = _file(path)
        self.findings: list[DataFinding] = []
        self.heads: list[Head] = []
        self._names: list[str] = []
        with hdf5.opened(self.file) as file:
            data = hdf5.group(file, "data", self.file)
            demos = sorted((name for name in data if name.startswith("demo")), key=_number)
            if not demos:
                raise DataError(self.file, "data", "there is no demo_<i> in it.")
            environment = self._environment(data)
            splits = self._splits(file)
            rewarded = any(_rewarded(data[name]) for name in demos)
            views: dict[str, tuple[int, int]] = {}
            for name in demos:
                try:
                    demo = hdf5.group(data, name, self.file)
                    if not self._names:
                        views = self._first(demo)
                    self._check(demo, views)
                    head = self._head(name, demo, environment, splits, rewarded)
                except DataError as error:
                    self.findings.append(skipped(name, error))
                    continue
                self.heads.append(head)
                self._names.append(name)
            if not self.heads:
                raise DataError(self.file, "data", f"none can be read: {self.findings[0].text}")
        self.spec = SourceSpec(
            format="robomimic",
            path=path,
            fps=self._rate(environment),
            views=views,
            action_names=self._action_names,
            pose_names=self._pose_names,
        )

    @staticmethod
    def detect(path: Path) -> bool:
        """An HDF5 file, or a folder with one only, that has `data/demo_<i>`."""
        try:
            with hdf5.opened(_file(path)) as file:
                data = file.get("data")
                return isinstance(data, h5py.Group) and any(n.startswith("demo") for n in data)
        except DataError:
            return False

    def rows(self, index: int) -> Rows:
        with hdf5.opened(self.file) as file:
            demo = self._demo(file, index)
            length = self.heads[index].length
            actions = hdf5.table(demo, "actions", self.file)[:length]
            observed = hdf5.group(demo, "obs", self.file)
            parts = [hdf5.table(observed, key, self.file) for key in self._pose_keys]
        if min(map(len, parts)) < length:
            raise DataError(
                self.file, f"{self._names[index]}/obs", f"it has fewer than {length} rows."
            )
        return Rows(actions=actions, pose=np.concatenate([p[:length] for p in parts], axis=1))

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        self.choose([view])
        wanted = np.arange(self.heads[index].length) if rows is None else np.asarray(rows)
        with hdf5.opened(self.file) as file:
            observed = hdf5.group(self._demo(file, index), "obs", self.file)
            found = hdf5.dataset(observed, self._view_keys[view], self.file)
            return hdf5.images(found, self.file, wanted)

    def _demo(self, file: h5py.File, index: int) -> h5py.Group:
        return hdf5.group(hdf5.group(file, "data", self.file), self._names[index], self.file)

    def _first(self, demo: h5py.Group) -> dict[str, tuple[int, int]]:
        """Views and names from the first demonstration; the others must be like it."""
        observed = hdf5.group(demo, "obs", self.file)
        keys = [key for key in observed if hdf5.is_images(observed[key])]
        if not keys:
            raise DataError(self.file, f"{demo.name}/obs", "there are no images (t, h, w, 3).")
        self._view_keys = {key.removesuffix(IMAGE): key for key in keys}
        self._pose_keys = self._choose_pose(observed)
        sizes = {key: hdf5.table(observed, key, self.file).shape[1] for key in self._pose_keys}
        actions = hdf5.table(demo, "actions", self.file).shape[1]
        self._action_names = _names(demo.parent, "action_names", actions, "action")
        counted = [name for key, size in sizes.items() for name in numbered(key, size)]
        self._pose_names = _names(demo.parent, "pose_names", len(counted), "pose", counted)
        return {
            view: tuple(hdf5.dataset(observed, key, self.file).shape[1:3])
            for view, key in self._view_keys.items()
        }

    def _choose_pose(self, observed: h5py.Group) -> tuple[str, ...]:
        for keys in POSES:
            if all(key in observed for key in keys):
                return keys
        flat = (key for key in sorted(observed) if getattr(observed[key], "ndim", 0) in (1, 2))
        keys = tuple(key for key in flat if key != PRIVILEGED)
        if not keys:
            raise DataError(self.file, f"{observed.name}", "there is no observation of the robot.")
        self._odd("pose-guessed", None, "obs", f"the pose is {', '.join(keys)}, as all there is.")
        return keys

    def _check(self, demo: h5py.Group, views: Mapping[str, tuple[int, int]]) -> None:
        observed = hdf5.group(demo, "obs", self.file)
        for view, key in self._view_keys.items():
            found = hdf5.dataset(observed, key, self.file)
            if not hdf5.is_images(found) or tuple(found.shape[1:3]) != views[view]:
                raise DataError(
                    self.file, str(found.name), f"it is {found.dtype} {found.shape}, elsewhere "
                    f"frames are {views[view]}."
                )  # fmt: skip
        poses = [hdf5.table(observed, key, self.file).shape[1] for key in self._pose_keys]
        actions = hdf5.table(demo, "actions", self.file).shape[1]
        for field, found, expected in (
            ("actions", actions, len(self._action_names)),
            (f"obs/{self._pose_keys[0]}", sum(poses), len(self._pose_names)),
        ):
            if found != expected:
                words = f"there are {found} dimensions, elsewhere {expected}."
                raise DataError(self.file, f"{demo.name}/{field}", words)

    def _head(
        self,
        name: str,
        demo: h5py.Group,
        environment: Mapping[str, Any],
        splits: Mapping[str, str],
        rewarded: bool,
    ) -> Head:
        observed = hdf5.group(demo, "obs", self.file)
        counts = {"actions": len(hdf5.dataset(demo, "actions", self.file))}
        for key in (*self._view_keys.values(), *self._pose_keys):
            counts[f"obs/{key}"] = len(hdf5.dataset(observed, key, self.file))
        if "num_samples" in demo.attrs:
            counts["num_samples"] = int(demo.attrs["num_samples"])
        length = min(counts.values())
        if length < 1:
            raise DataError(self.file, str(demo.name), f"it is empty ({counts}).")
        if len(set(counts.values())) > 1:
            self._odd("frame-count", name, "num_samples", f"{counts}; {length} are used.")
        success: bool | None = _rewarded(demo) if rewarded else None
        if "success" in demo.attrs:  # our writer's: -1 unknown, 0, 1
            success = {0: False, 1: True}.get(int(demo.attrs["success"]))
        return Head(
            id=hdf5.text(demo.attrs.get("id", name)),
            length=length,
            task=_task(demo, environment),
            success=success,
            split=splits.get(name, "train"),
            source=hdf5.text(demo.attrs.get("source", "")),
        )

    def _environment(self, data: h5py.Group) -> dict[str, Any]:
        try:
            found = json.loads(hdf5.text(data.attrs.get("env_args", "{}")))
        except ValueError as error:
            raise DataError(self.file, "data.env_args", f"it is not JSON ({error}).") from error
        return found if isinstance(found, dict) else {}

    def _rate(self, environment: Mapping[str, Any]) -> float:
        arguments = environment.get("env_kwargs")
        given = arguments.get("control_freq") if isinstance(arguments, dict) else None
        if given is None:
            self._odd("fps-guessed", None, "env_args", f"no control_freq; {FPS:g} fps is taken.")
            return FPS
        return rate(given, self.file, "env_args.env_kwargs.control_freq")

    def _splits(self, file: h5py.File) -> dict[str, str]:
        mask = file.get("mask")
        if not isinstance(mask, h5py.Group) or "valid" not in mask:
            return {}
        return {hdf5.text(name): "val" for name in hdf5.dataset(mask, "valid", self.file)[()]}

    def _odd(self, code: str, episode: str | None, field: str, words: str) -> None:
        self.findings.append(
            DataFinding(code=code, severity="note", episode=episode, field=field, text=words)
        )


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    found = [*path.glob("*.hdf5"), *path.glob("*.h5")]
    if len(found) != 1:
        raise DataError(path, "file", f"there are {len(found)} HDF5 files in it; name one.")
    return found[0]


def _rewarded(demo: object) -> bool:
    rewards = demo.get("rewards") if isinstance(demo, h5py.Group) else None
    if not isinstance(rewards, h5py.Dataset) or rewards.dtype.kind not in "fiub":
        return False
    return bool((rewards[()] > 0).any())


def _task(demo: h5py.Group, environment: Mapping[str, Any]) -> str:
    if "task" in demo.attrs:
        return hdf5.text(demo.attrs["task"])
    if "ep_meta" in demo.attrs:  # robocasa's
        try:
            return str(json.loads(hdf5.text(demo.attrs["ep_meta"]))["lang"])
        except (ValueError, KeyError, TypeError):
            pass  # another tool's; the environment's name is the task then
    return str(environment.get("env_name") or "")


def _names(
    data: h5py.Group, key: str, size: int, prefix: str, known: list[str] | None = None
) -> tuple[str, ...]:
    kept = [hdf5.text(name) for name in data.attrs.get(key, ())]
    if len(kept) == size:
        return tuple(kept)
    return tuple(known) if known is not None else numbered(prefix, size)


def _number(name: str) -> tuple[int, str]:
    found = re.search(r"\d+", name)
    return int(found.group()) if found else 0, name
