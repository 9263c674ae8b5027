"""Statistics that LeRobot stores: exact for numbers, from sampled frames for images.

Image statistics are per channel in [0, 1], with shape (3, 1, 1). Because frames are bytes, a
histogram of 256 bins per channel represents all of them, and histograms of episodes can be added
without loss.
"""

from typing import Any

import numpy as np

from worldeval.axes import Array, Float, Int, UInt8

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
SAMPLED_FRAMES = 100  # per episode
SAMPLED_SIDE = 150  # pixels; larger frames are subsampled to about this size
Stats = dict[str, Any]


def of_numbers(values: Float[Array, "n d"]) -> Stats:
    """Compute the statistics of a column over its rows."""
    values = values.astype(np.float64)
    return {
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "mean": values.mean(axis=0).tolist(),
        "std": values.std(axis=0).tolist(),
        "count": [len(values)],
        **dict(zip(_names(), np.quantile(values, QUANTILES, axis=0).tolist(), strict=True)),
    }


class Running:
    """Running statistics of a column: exact moments, and quantiles from every n-th row."""

    def __init__(self, *, every: int = 1) -> None:
        self._every = every
        self._count = 0
        self._pieces: list[Array] = []
        self._mean: Array | float = 0.0
        self._squares: Array | float = 0.0  # summed squared deviations from the mean
        self._low: Array | None = None
        self._high: Array | None = None

    def add(self, values: Float[Array, "n d"]) -> None:
        """Add further rows."""
        values = values.astype(np.float64)
        self._pieces.append(values[(-self._count) % self._every :: self._every].astype(np.float32))
        mean, total = values.mean(axis=0), self._count + len(values)
        # Chan et al. 1979, eq. 2.1: moments of the whole from those of two parts.
        apart = mean - self._mean
        spread = ((values - mean) ** 2).sum(axis=0)
        self._squares = self._squares + spread + apart**2 * self._count * len(values) / total
        self._mean = self._mean + apart * len(values) / total
        self._count = total
        low, high = values.min(axis=0), values.max(axis=0)
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)

    def stats(self) -> Stats:
        """Return the statistics of all rows so far, of which there must be at least one."""
        sample = np.concatenate(self._pieces)
        quantiles = np.quantile(sample, QUANTILES, axis=0).tolist()
        return {
            "min": np.asarray(self._low).tolist(),
            "max": np.asarray(self._high).tolist(),
            "mean": np.asarray(self._mean).tolist(),
            "std": np.sqrt(np.asarray(self._squares) / self._count).tolist(),
            "count": [self._count],
            **dict(zip(_names(), quantiles, strict=True)),
        }


class Histogram:
    """Counts of byte values per channel, over sampled frames of an episode of known length."""

    def __init__(self, length: int) -> None:
        spread = np.linspace(0, length - 1, min(length, SAMPLED_FRAMES)).round()
        self._rows = np.unique(spread.astype(int))
        self._seen = 0
        self.frames = len(self._rows)
        self.counts: Int[Array, "3 256"] = np.zeros((3, 256), np.int64)

    def add(self, frames: UInt8[Array, "n h w 3"]) -> None:
        """Add the next frames of the episode."""
        here = self._rows[(self._rows >= self._seen) & (self._rows < self._seen + len(frames))]
        thin = max(1, round(max(frames.shape[1:3]) / SAMPLED_SIDE))
        sample = frames[here - self._seen, ::thin, ::thin]
        for channel in range(3):
            self.counts[channel] += np.bincount(sample[..., channel].ravel(), minlength=256)
        self._seen += len(frames)


def of_histogram(counts: Int[Array, "3 256"], frames: int) -> Stats:
    """Compute image statistics in [0, 1] from the counts of `frames` sampled frames."""
    value = np.arange(256) / 255
    total = counts.sum(axis=1, keepdims=True)
    mean = (counts * value).sum(axis=1, keepdims=True) / total
    variance = (counts * (value - mean) ** 2).sum(axis=1, keepdims=True) / total
    below = counts.cumsum(axis=1) / total
    rows = {
        "min": value[(counts > 0).argmax(axis=1)],
        "max": value[255 - (counts[:, ::-1] > 0).argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(variance),
    }
    for name, quantile in zip(_names(), QUANTILES, strict=True):
        rows[name] = value[(below >= quantile).argmax(axis=1)]
    shaped = {name: np.reshape(row, (3, 1, 1)).tolist() for name, row in rows.items()}
    return {**shaped, "count": [frames]}


def _names() -> list[str]:
    return [f"q{round(quantile * 100):02d}" for quantile in QUANTILES]
