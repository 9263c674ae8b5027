"""Maps: descriptions of a dataset that supply what its files do not say.

`--map FILE.yaml` (and `source:` in a dataset recipe) names the arrays of the action, the pose and
the cameras, and defines what their columns mean, when an episode succeeded, and how images are
stored. Anything not in the map is read as the reader finds it. GR00T's `modality.json` is also
accepted as a map.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import yaml

from worldeval.config import build
from worldeval.data.columns import ColumnGroup, names
from worldeval.data.modality import is_modality, read_modality
from worldeval.data.success_rule import SuccessRule, read_rule
from worldeval.errors import UserError

Channels = Literal["rgb", "bgr"]


@dataclass(frozen=True, kw_only=True)
class NumbersMap:
    """Location and meaning of the numbers of an action or a pose."""

    keys: tuple[str, ...] = ()  # arrays to be joined, column after column; empty: the format's own
    columns: tuple[ColumnGroup, ...] = ()  # every column, in order; empty: as the reader finds them
    next_pose: bool = False  # of actions: none are stored, and the pose reached next stands for one

    def __post_init__(self) -> None:
        found = names(self.columns)
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            raise ValueError(f"several columns are called {', '.join(twice)}; use unique names")


@dataclass(frozen=True, kw_only=True)
class DataMap:
    """Description of a dataset; empty fields leave the reader's choice unchanged."""

    fps: float | None = None  # as recorded
    every: int | None = None  # recorded steps in a frame, whose actions are stacked; None: one
    action: NumbersMap = field(default_factory=NumbersMap)
    pose: NumbersMap = field(default_factory=NumbersMap)
    views: Mapping[str, str] = field(default_factory=dict)  # view -> its key; others are not used
    channels: Channels | None = None  # order in which packed pictures come out of the decoder
    depth: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # key -> near, far
    success: str = ""  # 'reward >= 0.95 in the last frame'; see success_rule.py
    reward: str = ""  # the key that 'reward' stands for
    task: str = ""  # the instruction of every episode
    task_key: str = ""  # where an episode's own instruction is
    convert_units: bool = False  # read metres, radians, grippers 0 (open) to 1 (closed)

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ValueError(f"fps {self.fps} is not between 0 and 1000")
        if self.every is not None and not 1 <= self.every <= 1000:
            raise ValueError(f"every {self.every} is not between 1 and 1000 steps")
        if self.task and self.task_key:
            raise ValueError("give either task or task_key, not both")
        if self.pose.next_pose:
            raise ValueError(
                "next_pose is only valid in action:, where it derives the action from the pose"
            )
        for key, (near, far) in self.depth.items():
            if not near < far:
                raise ValueError(f"depth {key}: near ({near}) must be less than far ({far})")
        if self.success:
            read_rule(self.success)

    @property
    def rule(self) -> SuccessRule | None:
        """Success rule of an episode; None if the map has none."""
        return read_rule(self.success) if self.success else None

    @property
    def said(self) -> tuple[str, ...]:
        """What the map speaks of, as its readers must understand it: `action.keys`, `channels`."""
        out = []
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, NumbersMap):
                out += [f"{each.name}.{part.name}" for part in fields(value)
                        if getattr(value, part.name)]  # fmt: skip
            elif value:
                out.append(each.name)
        return tuple(out)


# What `MappedSource` does for every format alike.
FOR_ALL = ("fps", "every", "action.columns", "pose.columns", "success", "task", "convert_units")


def read_map(path: Path) -> DataMap:
    """Read a map from a YAML file, or from GR00T's `modality.json`.

    Raises:
        UserError: the file cannot be read, or contains an unknown key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"The map {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"The map {path} is not readable YAML or JSON: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(
            f"The map {path} has no keys. `worldeval data inspect` prints a map to edit."
        )
    return build(DataMap, read_modality(raw, path) if is_modality(raw) else raw, where=str(path))


def refuse_unread(given: DataMap, understood: Sequence[str], kind: str) -> None:
    """Refuse a map with keys that a reader would silently ignore."""
    for said in given.said:
        if said not in (*FOR_ALL, *understood):
            known = ", ".join(sorted((*FOR_ALL, *understood)))
            raise UserError(
                f"The map sets '{said}', which the format {kind} does not support (supported: "
                f"{known}). Remove it from the map."
            )
