"""Datasets that are trained on together: a folder, and how often it is drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float
from worldeval.data.data_map import DataMap, read_map
from worldeval.data.source import Source, open_source
from worldeval.errors import UserError

VIDEO = "video"  # the mark of data without actions and instructions


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """A dataset of a mixture. Weights are relative: 1 and 0.5 are two thirds and one third."""

    path: Path
    weight: float = 1.0
    video: bool = False  # its actions and instructions say nothing and are never looked at
    format: str | None = None  # None: detected
    given: DataMap = field(default_factory=DataMap)  # what its files leave open

    def open(self) -> Source:
        """The dataset."""
        return open_source(self.path, self.format, given=self.given)


def read_weighted(
    text: str, *, format: str | None = None, given: DataMap | None = None
) -> Weighted:
    """`FOLDER`, `FOLDER:WEIGHT` or `FOLDER:WEIGHT:video`, as the command line takes it.

    Raises:
        UserError: the weight is no positive number.
    """
    said = {"format": format, "given": given or DataMap()}
    path, video = text, False
    if not Path(text).exists() and text.endswith(f":{VIDEO}"):
        path, video = text.removesuffix(f":{VIDEO}"), True
    folder, colon, weight = path.rpartition(":")
    if not colon or Path(path).exists():  # a folder may have a colon in its name
        return Weighted(path=Path(path), video=video, **said)
    try:
        number = float(weight)
    except ValueError:
        number = float("nan")
    if not (isfinite(number) and number > 0):
        raise UserError(
            f"'{text}': '{weight}' is no weight of {folder}, and there is no such folder. Write "
            "FOLDER, or FOLDER:WEIGHT with a weight above 0, such as robot/data:0.3; add :video "
            "where actions and instructions are not to be learned from."
        )
    return Weighted(path=Path(folder), weight=number, video=video, **said)


def read_mixture(
    data: Sequence[str], formats: Sequence[str] = (), maps: Sequence[Path] = ()
) -> list[Weighted]:
    """The datasets of a command line; formats and maps are one for all, or one for each in turn.

    Raises:
        UserError: there are several, but not as many as datasets.
    """
    given = _each([read_map(path) for path in maps], len(data), "--map") or [None] * len(data)
    kinds = _each(list(formats), len(data), "--format") or [None] * len(data)
    return [
        read_weighted(text, format=kind, given=one)
        for text, kind, one in zip(data, kinds, given, strict=True)
    ]


def refuse_video(parts: Sequence[Weighted], family: str, *, learns_video: bool) -> None:
    """Refuse data marked as video for a family that learns from actions alone, or all of it."""
    marked = [str(part.path) for part in parts if part.video]
    if learns_video and len(marked) == len(parts):
        raise UserError(
            f"All of the data ({', '.join(marked)}) is marked as video. Something must have "
            "actions, or a model cannot learn to follow them: add such a --data."
        )
    if marked and not learns_video:
        raise UserError(
            f"{', '.join(marked)} is marked as video, and a {family} learns from actions; "
            "leave it out, or train a family that learns from video (uwm)."
        )


def _each(values: list, count: int, option: str) -> list:
    if len(values) == 1:
        return values * count
    if len(values) not in (0, count):
        raise UserError(
            f"There are {count} datasets and {len(values)} of {option}. Give one for all, or one "
            "for each in the order of --data."
        )
    return values


def weighted(data: Path | Weighted | Sequence[Weighted]) -> tuple[Weighted, ...]:
    """A mixture of one where only a folder is given."""
    if isinstance(data, Weighted):
        return (data,)
    return (Weighted(path=data),) if isinstance(data, Path) else tuple(data)


def shares(weights: Sequence[float], sizes: Sequence[int]) -> Float[Array, " n"]:
    """How much of what is drawn comes from each dataset; nothing from those of size 0.

    Raises:
        UserError: a weight is negative, or nothing is left to draw from.
    """
    given = np.array(weights, np.float64)
    if not len(given) or (given < 0).any():
        raise UserError("A mixture needs datasets, with weights that are not negative.")
    given = np.where(np.array(sizes) > 0, given, 0.0)
    if given.sum() == 0:
        raise UserError("No episode is left to draw from: weights or selections are all empty.")
    return given / given.sum()
