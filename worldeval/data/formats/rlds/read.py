"""Read an RLDS dataset: a TFDS folder with `features.json` and TFRecord shards.

`steps/*` of a record contain one episode, flattened. Row t of the action is applied at observation
t, as RLDS defines a step. The action of an episode's last step may be meaningless.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.data_map import DataMap
from worldeval.data.depth import grey, left_out
from worldeval.data.files import load_json
from worldeval.data.finding import DataError, DataFinding, skipped, why_none
from worldeval.data.formats.rlds.example import Example
from worldeval.data.formats.rlds.features import StepFeature, read_features, stepwise
from worldeval.data.formats.rlds.tfrecord import RecordPlace, find_records, read_record
from worldeval.data.names import numbered, views_of
from worldeval.data.packed import unpacked, unpacked_depth
from worldeval.data.source import Head, Rows, Source, SourceSpec

FEATURES, OBSERVED = "features.json", "observation/"
SHARD = re.compile(r"(?P<name>.+)-(?P<split>[^-]+)\.tfrecord-(?P<part>\d+)-of-(?P<parts>\d+)")
# Where OXE's datasets store them; the first that exists is used.
ACTIONS = ("action",)
POSES = ("state", "proprio", "eef_state", "robot_state")
DROID_POSE = ("cartesian_position", "gripper_position")
TEXTS = ("language_instruction", "observation/natural_language_instruction", "instruction")
SPLITS = {"train": "train", "training": "train"}
FPS = 10.0
OPEN = 2  # parsed examples kept: an episode with its images may take 100 MB


class RldsSource(Source):
    """One version folder of a TFDS dataset, such as `droid/1.0.0`."""

    UNDERSTANDS = (
        "action.keys", "pose.keys", "views", "channels", "depth", "reward", "task_key"
    )  # fmt: skip

    def __init__(self, path: Path, given: DataMap | None = None) -> None:
        self.path, self.given = _version(path), given or DataMap()
        self.findings: list[DataFinding] = []
        where = self.path / FEATURES
        self._steps, self._beside = read_features(load_json(where), where)
        self._action_keys = self.given.action.keys or self._acting(where)
        self._pose_keys = self.given.pose.keys or self._posing(where)
        self._view_keys = self._views(where)
        self._text_key = self.given.task_key or next(
            (key for key in TEXTS if key in self._steps), ""
        )
        self._reward_key = self.given.reward or "reward"
        for key in (*self._action_keys, *self._pose_keys, *self._view_keys.values()):
            self._feature(key, where)
        self._places: list[RecordPlace] = []
        self.heads: list[Head] = []
        sizes: dict[str, tuple[int, int]] = {}
        self._note_missing()
        for split, file in _shards(self.path):
            try:
                records = find_records(file)
            except DataError as error:
                self.findings.append(skipped(file.name, error))
                continue
            for number, place in enumerate(records):
                name = f"{split}-{file.name.rsplit('.tfrecord-')[-1].split('-')[0]}-{number}"
                try:
                    example = _parsed(place)
                    head = self._head(name, split, example)
                    found = self._sizes(example)
                    sizes = sizes or found
                    if found != sizes:
                        raise DataError(
                            file, "image", f"it is {found}, but {sizes} in other episodes."
                        )
                except DataError as error:
                    self.findings.append(skipped(name, error))
                    continue
                self.heads.append(head)
                self._places.append(place)
        if not self.heads:
            why = why_none(self.findings, "there is no file *.tfrecord-*.")
            raise DataError(self.path, "file", f"no episode can be read: {why}")
        self._note()
        self.spec = SourceSpec(
            format="rlds",
            path=path,
            fps=self.given.fps or FPS,
            views=sizes,
            action_names=self._names(self._action_keys, "action"),
            pose_names=self._names(self._pose_keys, "pose"),
            read_as=replace(
                self.given,
                action=replace(self.given.action, keys=self._action_keys),
                pose=replace(self.given.pose, keys=self._pose_keys),
                views=self._view_keys,
                task_key=self._text_key,
            ),
        )

    @staticmethod
    def detect(path: Path) -> bool:
        """Accept a folder with features.json and TFRecord files, or with such version folders."""
        try:
            return path.is_dir() and bool(_shards(_version(path)))
        except DataError:
            return False

    def rows(self, index: int) -> Rows:
        example, length = _parsed(self._places[index]), self.heads[index].length
        return Rows(
            actions=self._joined(example, self._action_keys, length),
            pose=self._joined(example, self._pose_keys, length),
        )

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        name, length = self._reward_key if key == "reward" else key, self.heads[index].length
        if name in self._beside:  # one number for the whole episode
            whole = _parsed(self._places[index]).numbers(name)
            if len(whole) != 1:
                raise DataError(self.path, name, f"it has {len(whole)} values; expected one.")
            return np.full(length, float(whole[0]))
        feature = self._feature(name, self.path / FEATURES)
        values = stepwise(_parsed(self._places[index]), feature, length)
        if values.shape[1] != 1:
            raise DataError(
                self.path, name, f"its shape is {values.shape}; expected one value per step."
            )
        return values[:, 0].astype(np.float64)

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        self.choose([view])
        key, place = self._view_keys[view], self._places[index]
        cells = _parsed(place).cells(f"steps/{key}")
        wanted = np.arange(self.heads[index].length) if rows is None else np.asarray(rows)
        out = np.empty((len(wanted), *self.spec.views[view], 3), np.uint8)
        for number, row in enumerate(wanted):
            if not 0 <= row < len(cells):
                raise DataError(
                    place.file, key, f"step {row} does not exist; it has {len(cells)} steps."
                )
            out[number] = self._picture(cells[int(row)], key, place.file, f"{key}[{row}]")
        return out

    def _picture(self, cell: bytes, key: str, file: Path, field: str) -> UInt8[Array, "h w 3"]:
        if key in self.given.depth:
            return grey(unpacked_depth(cell, file, field)[None], *self.given.depth[key])[0]
        return unpacked(cell, file, field, self.given.channels)

    def _sizes(self, example: Example) -> dict[str, tuple[int, int]]:
        """Take height and width of views from first images, as features.json may omit them."""
        sizes = {}
        for view, key in self._view_keys.items():
            cells = example.cells(f"steps/{key}")
            if not cells:
                raise DataError(example.file, key, "it contains no image.")
            sizes[view] = self._picture(cells[0], key, example.file, key).shape[:2]
        return sizes

    def _head(self, name: str, split: str, example: Example) -> Head:
        lengths = {key: len(example.cells(f"steps/{key}")) for key in self._view_keys.values()}
        lengths["is_first"] = self._counted(example)
        length = next(iter(lengths.values()))
        if length < 1 or set(lengths.values()) - {length, -1}:
            raise DataError(example.file, name, f"steps have different lengths: {lengths}.")
        if "steps/is_last" in example:
            last = np.flatnonzero(example.numbers("steps/is_last"))
            if len(last) and last.tolist() != [length - 1]:
                self._odd(
                    "steps-after-last", name, "is_last", f"is true at step {last[0]} of {length}; "
                    "all steps are read."
                )  # fmt: skip
        return Head(
            id=name,
            length=length,
            task=self._text(example),
            success=None,
            split=SPLITS.get(split, split),
        )

    def _counted(self, example: Example) -> int:
        return len(example.numbers("steps/is_first")) if "steps/is_first" in example else -1

    def _text(self, example: Example) -> str:
        if not self._text_key:
            return ""
        key = f"steps/{self._text_key}"
        key = key if key in example else self._text_key  # text of the whole episode
        cells = example.cells(key)
        return cells[0].decode("utf-8", "replace").strip() if cells else ""

    def _note_missing(self) -> None:
        """Report missing shards, and shards with fewer episodes than dataset_info.json says."""
        there: dict[tuple[str, int], int] = {}
        for split, file in _shards(self.path):
            parts = int(file.name.rsplit("-of-", 1)[1])
            there[split, parts] = there.get((split, parts), 0) + 1
        for (split, parts), count in there.items():
            if count != parts:
                self.findings.append(
                    DataFinding(
                        code="shards-missing",
                        severity="warning",
                        episode=None,
                        field=split,
                        text=f"{parts - count} of {parts} files are missing; only the others are "
                        "read.",
                    )
                )

    def _note(self) -> None:
        if self.given.fps is None:
            self._odd(
                "fps-guessed", None, "fps", f"the format has no frame rate; assuming {FPS:g} fps. "
                "Set it in a map (fps: 15 for DROID, 5 for Bridge)."
            )  # fmt: skip
        if not self.given.success:
            self._odd(
                "no-success", None, "success", "the format does not state which episodes "
                "succeeded. Define it in a map, such as success: reward >= 1 in the last frame."
            )  # fmt: skip
        if not self._text_key:
            self._odd("no-task", None, "language_instruction", "there is no instruction. Give its "
                      "key (task_key:) or its text (task:) in a map.")  # fmt: skip
        self.findings += left_out(
            key for key, one in self._steps.items()
            if one.kind == "image" and _deep(one) and key not in self.given.depth
        )  # fmt: skip

    def _odd(self, code: str, episode: str | None, field: str, words: str) -> None:
        self.findings.append(
            DataFinding(code=code, severity="note", episode=episode, field=field, text=words)
        )

    def _acting(self, where: Path) -> tuple[str, ...]:
        for key in ACTIONS:
            if key in self._steps and self._steps[key].kind == "numbers":
                return (key,)
        parts = [key for key in self._steps if key.startswith("action/")]
        raise DataError(
            where, "action", f"expected one vector per step, found "
            f"{', '.join(parts) or 'nothing'}.",
            "Name its parts, in order, in a map (action: keys:).",
        )  # fmt: skip

    def _posing(self, where: Path) -> tuple[str, ...]:
        droid = tuple(f"{OBSERVED}{key}" for key in DROID_POSE)
        if all(key in self._steps for key in droid):
            return droid
        for name in POSES:
            feature = self._steps.get(f"{OBSERVED}{name}")
            if feature is not None and feature.kind == "numbers" and feature.width:
                self._odd("pose-guessed", None, feature.key, "is assumed to be the robot's pose.")
                return (feature.key,)
        there = [
            key for key, one in self._steps.items()
            if key.startswith(OBSERVED) and one.kind == "numbers" and one.width
        ]  # fmt: skip
        raise DataError(
            where, "observation", f"no name tells which feature is the pose (available: "
            f"{', '.join(there)}).",
            "Name it in a map (pose: keys:).",
        )  # fmt: skip

    def _views(self, where: Path) -> dict[str, str]:
        if self.given.views:
            return dict(self.given.views)
        keys = [
            key for key, one in self._steps.items()
            if one.kind == "image" and (not _deep(one) or key in self.given.depth)
        ]  # fmt: skip
        if not keys:
            raise DataError(where, "observation", "there is no colour image.")
        return views_of({key: key.removeprefix(OBSERVED) for key in keys})

    def _feature(self, key: str, where: Path) -> StepFeature:
        if key not in self._steps:
            listed = ", ".join(self._steps)
            raise DataError(where, key, f"the steps do not have it (available: {listed}).")
        return self._steps[key]

    def _joined(self, example: Example, keys: Sequence[str], length: int) -> Float32[Array, "t n"]:
        parts = [stepwise(example, self._steps[key], length) for key in keys]
        bad = [key for key, part in zip(keys, parts, strict=True) if not np.isfinite(part).all()]
        if bad:
            raise DataError(example.file, bad[0], "it contains non-finite values.")
        return np.concatenate(parts, axis=1)

    def _names(self, keys: Sequence[str], prefix: str) -> tuple[str, ...]:
        example, length = _parsed(self._places[0]), self.heads[0].length
        widths = {key: stepwise(example, self._steps[key], length).shape[1] for key in keys}
        if len(keys) == 1:
            return numbered(prefix, widths[keys[0]])
        return tuple(
            name
            for key, width in widths.items()
            for name in ((_short(key),) if width == 1 else numbered(_short(key), width))
        )


def _short(key: str) -> str:
    return key.removeprefix(OBSERVED).removeprefix("action/")


def _deep(feature: StepFeature) -> bool:
    """Whether images have more than one byte a pixel, or one channel and a depth name."""
    one = feature.shape[-1:] == (1,) and "depth" in feature.key.lower()
    return feature.dtype not in ("uint8", "") or one


def _version(path: Path) -> Path:
    """Return the folder with features.json: the path itself, or the only version in it."""
    if (path / FEATURES).is_file() or not path.is_dir():
        return path
    found = sorted(file.parent for file in path.glob(f"*/{FEATURES}"))
    if len(found) > 1:
        listed = ", ".join(folder.name for folder in found)
        raise DataError(path, "version", f"there are several ({listed}). Give the folder of one.")
    return found[0] if found else path


def _shards(path: Path) -> list[tuple[str, Path]]:
    """List (split, file) of every shard, in order."""
    found = []
    for file in path.iterdir() if path.is_dir() else ():
        named = SHARD.fullmatch(file.name)
        if named and not file.name.startswith("."):
            found.append((named["split"], int(named["part"]), int(named["parts"]), file))
    return [(split, file) for split, _, _, file in sorted(found, key=lambda one: one[:2])]


@lru_cache(maxsize=OPEN)
def _parsed(place: RecordPlace) -> Example:
    return Example(read_record(place), place.file)
