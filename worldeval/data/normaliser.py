"""Normalisation of every dimension to a common scale, fitted on the training split."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from worldeval.axes import Array, Float, Float32
from worldeval.errors import UserError

Method = Literal["percentile", "mean-std"]
FLAT = 1e-6  # a spread below this share of the values' size is no spread


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """`normalised = (values - centre) / scale`, per dimension.

    `percentile` brings the range from the 1% to the 99% percentile to [-1, 1], which outliers do
    not move; `mean-std` brings mean and standard deviation to 0 and 1. A dimension that does not
    vary keeps the scale 1: dividing by next to nothing would blow up the smallest new value.

    Networks keep what was found here in their buffers (`world/features.py`,
    `world/ctrl_world/tokens.py`), and so in the weights file of the model.
    """

    method: Method
    centre: Float32[Array, " d"]
    scale: Float32[Array, " d"]

    @classmethod
    def fit(
        cls, parts: Iterable[Float[Array, "_ d"]], method: Method, *, least: float | None = None
    ) -> "Normaliser":
        """Fit to the rows of all parts: give it the training episodes, and only these.

        With `least`, no scale is below it, in place of 1 for dimensions that do not vary.
        """
        values = np.concatenate([np.asarray(part) for part in parts])
        if not len(values) or not np.isfinite(values).all():
            raise UserError("A normaliser needs at least one row, and all numbers must be finite.")
        if method == "percentile":
            low, high = np.percentile(values, [1, 99], axis=0)
            # A rarely used switch has equal percentiles; its range is used instead.
            flat = high - low <= FLAT * np.abs(values).max(axis=0)
            low = np.where(flat, values.min(axis=0), low)
            high = np.where(flat, values.max(axis=0), high)
            centre, scale = (low + high) / 2, (high - low) / 2
        else:
            # torch adds numbers up in its own order: with it, networks train as they always have.
            given = torch.from_numpy(values)
            centre, scale = given.mean(0).numpy(), given.std(0).nan_to_num(0).numpy()
        if least is None:
            flat = scale <= FLAT * np.maximum(np.abs(values).max(axis=0), FLAT)
            scale = np.where(flat, 1.0, scale)
        else:
            scale = np.maximum(scale, least)
        return cls(method=method, centre=centre.astype(np.float32), scale=scale.astype(np.float32))

    def __call__(self, values: Float[Array, "*n d"]) -> Float32[Array, "*n d"]:
        """Normalise values."""
        return ((values - self.centre) / self.scale).astype(np.float32)

    def back(self, values: Float[Array, "*n d"]) -> Float32[Array, "*n d"]:
        """Undo the normalisation."""
        return (values * self.scale + self.centre).astype(np.float32)
