"""Datasets that are trained on together: a folder, and how often it is drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """A dataset of a mixture. Weights are relative: 1 and 0.5 are two thirds and one third."""

    path: Path
    weight: float = 1.0


def read_weighted(text: str) -> Weighted:
    """`FOLDER` or `FOLDER:WEIGHT`, as the command line takes it.

    Raises:
        UserError: the weight is no positive number.
    """
    path, colon, weight = text.rpartition(":")
    if not colon or Path(text).exists():  # a folder may have a colon in its name
        return Weighted(path=Path(text))
    try:
        number = float(weight)
    except ValueError:
        number = float("nan")
    if not (isfinite(number) and number > 0):
        raise UserError(
            f"'{text}': '{weight}' is no weight of {path}, and there is no such folder. Write "
            "FOLDER, or FOLDER:WEIGHT with a weight above 0, such as robot/data:0.3."
        )
    return Weighted(path=Path(path), weight=number)


def weighted(data: Path | Sequence[Weighted]) -> tuple[Weighted, ...]:
    """A mixture of one where only a folder is given."""
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
