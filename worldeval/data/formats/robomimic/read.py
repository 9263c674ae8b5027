# h5py types every item as a group, dataset or datatype.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalMemberAccess=false
"""Read a robomimic HDF5 file: `data/demo_i` with `actions`, `rewards`, `obs/<key>`."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from worldeval.axes import Array, Float, Int, UInt8
from worldeval.data.columns import ColumnGroup, ColumnMeanings
from worldeval.data.data_map import DataMap
from worldeval.data.depth import grey, left_out
from worldeval.data.files import listed, own_file, rate
from worldeval.data.finding import DataError, DataFinding, OutsideError, skipped, why_none
from worldeval.data.formats import hdf5
from worldeval.data.formats.robomimic.masks import read_masks
from worldeval.data.formats.robomimic.meaning import (
    REWARDS,
    controlled,
    flags_of,
    problem_text,
    reward_tells,
    unread_pictures,
)
from worldeval.data.kept_meaning import COLUMNS, read_meaning
from worldeval.data.names import numbered, views_of
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.truth import truth

ACTIONS = "actions"
FPS = 20.0  # robosuite's control rate, used if the file gives none
IMAGE = "_image"  # robosuite's suffix of camera observations
# The pose is read from the first of these sets of observations that exists.
POSES = (
    ("pose",),
    ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos"),
    ("ee_pos", "ee_ori", "gripper_states"),
)
PRIVILEGED = "object"  # what the simulator knows about objects, not what the robot senses


class RobomimicSource(Source):
    """One HDF5 file.

    If rewards are 0 and 1, as in robosuite, 1 means success; the meaning of shaped rewards must be
    given by a map.
    """

    UNDERSTANDS = ("action.keys", "pose.keys", "views", "depth", "reward", "task_key")

    def __init__(self, path: Path, given: DataMap | None = None) -> None:
        self.file = _file(path)
        self.given = given or DataMap()
        self._action_keys = self.given.action.keys or (ACTIONS,)
        self.findings: list[DataFinding] = []
        self.heads: list[Head] = []
        self._names: list[str] = []
        with hdf5.opened(self.file) as file:
            data = hdf5.group(file, "data", self.file)
            demos = sorted((name for name in data if name.startswith("demo")), key=_number)
            if not demos:
                raise DataError(self.file, "data", "it contains no group demo_<i>.")
            environment = self._environment(data)
            splits, unlisted = read_masks(file, demos, self.file)
            rewarded, noted = reward_tells(data, demos, self.file, said=bool(self.given.success))
            told = problem_text(data)
            kept = "".join(hdf5.texts(file, COLUMNS, self.file)) if COLUMNS in file else ""
            views: dict[str, tuple[int, int]] = {}
            for name in demos:
                try:
                    demo = hdf5.group(data, name, self.file)
                    if not self._names:
                        views = self._first(demo)
                    self._check(demo, views)
                    head = self._head(name, demo, environment, splits, rewarded, told)
                except DataError as error:
                    self.findings.append(skipped(name, error))
                    continue
                self.heads.append(head)
                self._names.append(name)
            self.findings += [*noted, *unlisted]
            if not self.heads:
                raise DataError(
                    self.file, "data", f"no episode can be read: {why_none(self.findings, '')}"
                )
        self.spec = SourceSpec(
            format="robomimic",
            path=path,
            fps=self._rate(environment),
            views=views,
            action_names=self._action_names,
            pose_names=self._pose_names,
            meaning=self._meaning(kept, environment),
            read_as=replace(
                self.given,
                action=replace(self.given.action, keys=self._action_keys),
                pose=replace(self.given.pose, keys=self._pose_keys),
                views=self._view_keys,
            ),
        )

    def _meaning(self, kept: str, environment: Mapping[str, Any]) -> ColumnMeanings:
        """What the file says of its columns, or else of robosuite's controller and names."""
        found = {"action": self._action_names, "pose": self._pose_names}
        meaning = read_meaning(kept, self.file, **found)
        own = controlled(environment, self._action_names) if self._action_keys == (ACTIONS,) else ()
        return ColumnMeanings(
            action=meaning.action or own,
            pose=meaning.pose or _robosuite(self._pose_keys, self._pose_names),
        )

    @staticmethod
    def detect(path: Path) -> bool:
        """Accept an HDF5 file with `data/demo_<i>`, or a folder with one such file."""
        try:
            with hdf5.opened(_file(path)) as file:
                data = file.get("data")
                return isinstance(data, h5py.Group) and any(n.startswith("demo") for n in data)
        except OutsideError:
            raise  # apparently of this format, but must not be read at all
        except DataError:
            return False

    def rows(self, index: int) -> Rows:
        with hdf5.opened(self.file) as file:
            demo = self._demo(file, index)
            length = self.heads[index].length
            acted = [hdf5.table(demo, key, self.file) for key in self._action_keys]
            observed = hdf5.group(demo, "obs", self.file)
            parts = [hdf5.table(observed, key, self.file) for key in self._pose_keys]
            flags = flags_of(demo, self.file)
        if min(map(len, acted + parts)) < length:
            raise DataError(
                self.file, f"{self._names[index]}/obs", f"it has fewer than {length} rows."
            )
        return Rows(
            actions=np.concatenate([part[:length] for part in acted], axis=1),
            pose=np.concatenate([part[:length] for part in parts], axis=1),
            flags=None if flags is None or len(flags) < length else flags[:length],
        )

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        name = (self.given.reward or REWARDS) if key == "reward" else key
        with hdf5.opened(self.file) as file:
            table = hdf5.table(self._demo(file, index), name, self.file)
        if table.shape[1] != 1 or len(table) < self.heads[index].length:
            raise DataError(
                self.file, name, f"its shape is {table.shape}; expected one value per frame."
            )
        return table[: self.heads[index].length, 0].astype(np.float64)

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        self.choose([view])
        wanted = np.arange(self.heads[index].length) if rows is None else np.asarray(rows)
        with hdf5.opened(self.file) as file:
            observed = hdf5.group(self._demo(file, index), "obs", self.file)
            key = self._view_keys[view]
            found = hdf5.dataset(observed, key, self.file)
            if key in self.given.depth:
                return grey(hdf5.pictures(found, self.file, wanted), *self.given.depth[key])
            return hdf5.images(found, self.file, wanted)

    def _demo(self, file: h5py.File, index: int) -> h5py.Group:
        return hdf5.group(hdf5.group(file, "data", self.file), self._names[index], self.file)

    def _first(self, demo: h5py.Group) -> dict[str, tuple[int, int]]:
        """Determine views and names from the first demonstration; the others must match it."""
        observed = hdf5.group(demo, "obs", self.file)
        depths = [key for key in observed if hdf5.is_depth(observed[key])]
        keys = [key for key in observed if hdf5.is_images(observed[key])]
        keys += [key for key in depths if key in self.given.depth]
        if self.given.views:
            self._view_keys = dict(self.given.views)
            self._refuse_unknown(observed)
        else:
            if not keys:
                raise DataError(
                    self.file, f"{demo.name}/obs", "there are no images; expected uint8 (0 to 255) "
                    "of shape (t, h, w, 3)."
                )  # fmt: skip
            self._view_keys = views_of({key: key.removesuffix(IMAGE) for key in keys})
            self.findings += left_out(key for key in depths if key not in self.given.depth)
            self.findings += unread_pictures(observed)
        self._pose_keys = self._choose_pose(observed)
        sizes = {key: hdf5.table(observed, key, self.file).shape[1] for key in self._pose_keys}
        actions = sum(hdf5.table(demo, k, self.file).shape[1] for k in self._action_keys)
        self._action_names = _names(demo.parent, "action_names", actions, "action")
        counted = [name for key, size in sizes.items() for name in numbered(key, size)]
        self._pose_names = _names(demo.parent, "pose_names", len(counted), "pose", counted)
        return {
            view: tuple(hdf5.dataset(observed, key, self.file).shape[1:3])
            for view, key in self._view_keys.items()
        }

    def _refuse_unknown(self, observed: h5py.Group) -> None:
        for key in self._view_keys.values():
            found = hdf5.dataset(observed, key, self.file)
            if not hdf5.is_images(found) and key not in self.given.depth:
                raise DataError(
                    self.file, str(found.name), f"it is {found.dtype} {found.shape}, not images "
                    "(t, h, w, 3)."
                )  # fmt: skip

    def _choose_pose(self, observed: h5py.Group) -> tuple[str, ...]:
        if self.given.pose.keys:
            return self.given.pose.keys
        for keys in POSES:
            if all(key in observed for key in keys):
                return keys
        flat = (key for key in sorted(observed) if getattr(observed[key], "ndim", 0) in (1, 2))
        keys = tuple(key for key in flat if key != PRIVILEGED)
        if not keys:
            raise DataError(
                self.file, f"{observed.name}", "there is no observation of the robot's state."
            )
        self._odd("pose-guessed", None, "obs", f"assuming {', '.join(keys)} as the pose.")
        return keys

    def _check(self, demo: h5py.Group, views: Mapping[str, tuple[int, int]]) -> None:
        observed = hdf5.group(demo, "obs", self.file)
        for view, key in self._view_keys.items():
            found = hdf5.dataset(observed, key, self.file)
            shown = hdf5.is_images(found) or key in self.given.depth
            if not shown or tuple(found.shape[1:3]) != views[view]:
                raise DataError(
                    self.file, str(found.name), f"it is {found.dtype} {found.shape}, but frames "
                    f"are {views[view]} in other episodes."
                )  # fmt: skip
        poses = [hdf5.table(observed, key, self.file).shape[1] for key in self._pose_keys]
        actions = sum(hdf5.table(demo, k, self.file).shape[1] for k in self._action_keys)
        for field, found, expected in (
            ("actions", actions, len(self._action_names)),
            (f"obs/{self._pose_keys[0]}", sum(poses), len(self._pose_names)),
        ):
            if found != expected:
                words = f"there are {found} dimensions, but {expected} in other episodes."
                raise DataError(self.file, f"{demo.name}/{field}", words)

    def _head(
        self,
        name: str,
        demo: h5py.Group,
        environment: Mapping[str, Any],
        splits: Mapping[str, str],
        rewarded: bool,
        told: str,
    ) -> Head:
        observed = hdf5.group(demo, "obs", self.file)
        counts = {key: len(hdf5.dataset(demo, key, self.file)) for key in self._action_keys}
        for key in (*self._view_keys.values(), *self._pose_keys):
            counts[f"obs/{key}"] = len(hdf5.dataset(observed, key, self.file))
        claimed = hdf5.attribute(demo, "num_samples", self.file)
        if claimed is not None:
            if not isinstance(claimed, int | np.integer):
                raise DataError(
                    self.file, f"{demo.name}.num_samples", f"{claimed!r:.80} is not an integer."
                )
            counts["num_samples"] = int(claimed)
        length = min(counts.values())
        if length < 1:
            raise DataError(self.file, str(demo.name), f"it is empty ({counts}).")
        if len(set(counts.values())) > 1:
            self._odd(
                "frame-count", name, "num_samples", f"{counts}; only the first {length} are used."
            )
        flags = flags_of(demo, self.file) if rewarded else None
        success = None if flags is None else bool(flags.any())
        told_success = hdf5.attribute(demo, "success", self.file)
        if told_success is not None:  # from our writer: -1 unknown, 0, 1
            try:
                success = truth(told_success, unknown=-1)
            except ValueError as error:
                raise DataError(self.file, f"{demo.name}.success", f"{error}.") from error
        return Head(
            id=hdf5.text(hdf5.attribute(demo, "id", self.file, name)),
            length=length,
            task=self._task(demo, environment, told),
            success=success,
            split=splits[name],
            source=hdf5.text(hdf5.attribute(demo, "source", self.file, "")),
        )

    def _task(self, demo: h5py.Group, environment: Mapping[str, Any], told: str) -> str:
        if self.given.task_key:
            task = hdf5.attribute(demo, self.given.task_key, self.file)
            if task is None:
                raise DataError(self.file, f"{demo.name}.{self.given.task_key}", "it is missing.")
            return hdf5.text(task)
        task = hdf5.attribute(demo, "task", self.file)
        if task is not None:
            return hdf5.text(task)
        about = hdf5.attribute(demo, "ep_meta", self.file)
        if about is not None:  # from robocasa
            try:
                return str(json.loads(hdf5.text(about))["lang"])
            except (ValueError, KeyError, TypeError):
                pass  # from another tool; the task is then the file's text or environment name
        return told or str(environment.get("env_name") or "")

    def _environment(self, data: h5py.Group) -> dict[str, Any]:
        try:
            found = json.loads(hdf5.text(hdf5.attribute(data, "env_args", self.file, "{}")))
        except (ValueError, RecursionError) as error:
            raise DataError(self.file, "data.env_args", f"it is not JSON ({error}).") from error
        return found if isinstance(found, dict) else {}

    def _rate(self, environment: Mapping[str, Any]) -> float:
        arguments = environment.get("env_kwargs")
        given = arguments.get("control_freq") if isinstance(arguments, dict) else None
        if given is None:
            self._odd(
                "fps-guessed", None, "env_args", f"there is no control_freq; assuming {FPS:g} fps."
            )
            return FPS
        return rate(given, self.file, "env_args.env_kwargs.control_freq")

    def _odd(self, code: str, episode: str | None, field: str, words: str) -> None:
        self.findings.append(
            DataFinding(code=code, severity="note", episode=episode, field=field, text=words)
        )


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    found = listed(path, "*.hdf5", "*.h5")
    if len(found) != 1:
        raise DataError(path, "file", f"it contains {len(found)} HDF5 files. Give the path of one.")
    return own_file(path, found[0])


def _robosuite(keys: tuple[str, ...], found: tuple[str, ...]) -> tuple[ColumnGroup, ...]:
    """Meanings of robosuite's observations: metres, a quaternion x y z w, finger joints."""
    if keys != POSES[1] or len(found) < 8:
        return ()
    return (
        ColumnGroup(names=found[:3], means="position", unit="m"),
        ColumnGroup(names=found[3:7], means="rotation", form="quaternion"),
        ColumnGroup(names=found[7:], means="gripper"),
    )


def _names(
    data: h5py.Group, key: str, size: int, prefix: str, known: list[str] | None = None
) -> tuple[str, ...]:
    kept = [hdf5.text(name) for name in np.atleast_1d(data.attrs.get(key, ()))]
    if len(kept) == size:
        return tuple(kept)
    return tuple(known) if known is not None else numbered(prefix, size)


def _number(name: str) -> tuple[int, str]:
    found = re.search(r"\d+", name)
    return int(found.group()) if found else 0, name
