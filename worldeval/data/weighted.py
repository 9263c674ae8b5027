"""Mixtures of datasets: each dataset is a folder with a sampling weight."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float
from worldeval.data.data_map import DataMap, read_map
from worldeval.data.frame_times import same_rate
from worldeval.data.source import Source, format_of, open_source
from worldeval.data.stacked_steps import steps_for
from worldeval.errors import UserError
from worldeval.hub import PREFIX, is_hub, local

VIDEO = "video"  # the mark of data without actions and instructions
SHARDS = "shards"


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """A dataset of a mixture. Weights are relative: 1 and 0.5 mean two thirds and one third."""

    path: Path
    weight: float = 1.0
    video: bool = False  # its actions and instructions are never used
    format: str | None = None  # None: detected
    given: DataMap = field(default_factory=DataMap)  # information that its files do not contain

    def __post_init__(self) -> None:
        """Download a dataset on the hub."""
        object.__setattr__(self, "path", Path(local(str(self.path), "dataset")))

    def open(self) -> Source:
        """Open the dataset."""
        return open_source(self.path, self.format, given=self.given)


def read_weighted(
    text: str, *, format: str | None = None, given: DataMap | None = None
) -> Weighted:
    """Parse `FOLDER`, `FOLDER:WEIGHT` or `FOLDER:WEIGHT:video` from the command line.

    Raises:
        UserError: the weight is not a positive number.
    """
    said = {"format": format, "given": given or DataMap()}
    path, video = text, False
    if is_hub(text) and ":" not in text.removeprefix(PREFIX):
        return Weighted(path=Path(text), **said)
    if not Path(text).exists() and text.endswith(f":{VIDEO}"):
        path, video = text.removesuffix(f":{VIDEO}"), True
    folder, colon, weight = path.rpartition(":")
    if not colon or Path(path).exists():  # a folder name may contain a colon
        return Weighted(path=Path(path), video=video, **said)
    try:
        number = float(weight)
    except ValueError:
        number = float("nan")
    if not (isfinite(number) and number > 0):
        raise UserError(
            f"'{text}' is not a folder, and '{weight}' is not a valid weight of {folder}. Write "
            "FOLDER, or FOLDER:WEIGHT with a weight above 0, such as robot/data:0.3. Append :video "
            "to ignore actions and instructions."
        )
    return Weighted(path=Path(folder), weight=number, video=video, **said)


def read_mixture(
    data: Sequence[str],
    formats: Sequence[str] = (),
    maps: Sequence[Path] = (),
    every: int | None = None,
) -> list[Weighted]:
    """Parse the datasets of a command line; formats and maps are one for all, or one for each.

    Args:
        every: recorded steps in a frame, instead of those in the maps.

    Raises:
        UserError: there are several formats or maps, but not as many as datasets.
    """
    given = _each([read_map(path) for path in maps], len(data), "--map") or [None] * len(data)
    if every is not None:
        given = [replace(one or DataMap(), every=every) for one in given]
    kinds = _each(list(formats), len(data), "--format") or [None] * len(data)
    return [
        read_weighted(text, format=kind, given=one)
        for text, kind, one in zip(data, kinds, given, strict=True)
    ]


def read_rollouts(
    paths: Sequence[Path],
    maps: Sequence[Path] = (),
    every: int | None = None,
    *,
    beside: Sequence[Weighted] = (),
) -> list[Weighted]:
    """Datasets of roll-outs on a command line, read by its map if there is only one.

    Roll-outs may hold several simulator steps in a frame already (`worldeval data collect`). Those
    that are recorded at the frame rate of the first dataset of `beside` are read as they are, and
    the map is not applied to them. Nor is it applied to shards, which say themselves how they are
    read; they are brought to that rate.

    Raises:
        UserError: the frame rate of shards is no whole multiple of it.
    """
    given = read_map(maps[0]) if len(maps) == 1 else DataMap()
    if every is not None:
        given = replace(given, every=every)
    found = [Weighted(path=path, given=given) for path in paths]
    if not beside or not found:
        return found
    rate = beside[0].open().spec.fps
    return [_at_rate(one, rate) for one in found]


def refuse_video(parts: Sequence[Weighted], family: str, *, learns_video: bool) -> None:
    """Refuse data marked as video if the family needs actions, or if all data is marked."""
    marked = [str(part.path) for part in parts if part.video]
    if learns_video and len(marked) == len(parts):
        raise UserError(
            f"All datasets ({', '.join(marked)}) are marked as video. Add a --data with actions; "
            "otherwise the model cannot learn to follow actions."
        )
    if marked and not learns_video:
        raise UserError(
            f"{', '.join(marked)} is marked as video, but a {family} needs actions. "
            "Exclude it, or train a family that learns from video (uwm)."
        )


def _at_rate(rollouts: Weighted, fps: float) -> Weighted:
    path, stacked = rollouts.path, (rollouts.given.every or 1) > 1
    if path.is_dir() and format_of(path) == SHARDS:
        return Weighted(path=path, given=DataMap(every=steps_for(open_source(path), fps)))
    if stacked and same_rate(replace(rollouts, given=DataMap()).open().spec.fps, fps):
        return Weighted(path=path)
    return rollouts


def _each(values: list, count: int, option: str) -> list:
    if len(values) == 1:
        return values * count
    if len(values) not in (0, count):
        raise UserError(
            f"There are {count} datasets but {len(values)} values of {option}. Give one for all "
            "datasets, or one for each in the order of --data."
        )
    return values


def weighted(data: Path | Weighted | Sequence[Weighted]) -> tuple[Weighted, ...]:
    """Convert data to a mixture; a single folder becomes a mixture of one."""
    if isinstance(data, Weighted):
        return (data,)
    return (Weighted(path=data),) if isinstance(data, Path) else tuple(data)


def shares(weights: Sequence[float], sizes: Sequence[int]) -> Float[Array, " n"]:
    """Compute the share of samples from each dataset; datasets of size 0 get none.

    Raises:
        UserError: a weight is negative, or there is nothing to sample from.
    """
    given = np.array(weights, np.float64)
    if not len(given) or (given < 0).any():
        raise UserError("A mixture needs at least one dataset, and no weight may be negative.")
    given = np.where(np.array(sizes) > 0, given, 0.0)
    if given.sum() == 0:
        raise UserError(
            "The mixture has no episode to sample from. Check the weights and selections."
        )
    return given / given.sum()
