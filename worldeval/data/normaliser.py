"""Numbers of every dimension brought to one scale, fitted on the training split."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

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
    """

    method: Method
    centre: Float32[Array, " d"]
    scale: Float32[Array, " d"]

    @classmethod
    def fit(cls, parts: Iterable[Float[Array, "_ d"]], method: Method) -> "Normaliser":
        """Fit to the rows of all parts: give it the training episodes, and only these."""
        values = np.concatenate([np.asarray(part, np.float64) for part in parts])
        if not len(values) or not np.isfinite(values).all():
            raise UserError("A normaliser needs rows, every number of them finite.")
        if method == "percentile":
            low, high = np.percentile(values, [1, 99], axis=0)
            # Of a switch that is seldom used both percentiles are equal; its range is not.
            flat = high - low <= FLAT * np.abs(values).max(axis=0)
            low = np.where(flat, values.min(axis=0), low)
            high = np.where(flat, values.max(axis=0), high)
            centre, scale = (low + high) / 2, (high - low) / 2
        else:
            centre, scale = values.mean(axis=0), values.std(axis=0)
        flat = scale <= FLAT * np.maximum(np.abs(values).max(axis=0), FLAT)
        scale = np.where(flat, 1.0, scale)
        return cls(method=method, centre=centre.astype(np.float32), scale=scale.astype(np.float32))

    def __call__(self, values: Float[Array, "*n d"]) -> Float32[Array, "*n d"]:
        """Normalised values."""
        return ((values - self.centre) / self.scale).astype(np.float32)

    def back(self, values: Float[Array, "*n d"]) -> Float32[Array, "*n d"]:
        """The values that were normalised."""
        return (values * self.scale + self.centre).astype(np.float32)

    def described(self) -> dict[str, Any]:
        """Plain data, to be stored with a model."""
        return {
            "method": self.method,
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> "Normaliser":
        """What `described` gave."""
        return cls(
            method=described["method"],
            centre=np.array(described["centre"], np.float32),
            scale=np.array(described["scale"], np.float32),
        )
