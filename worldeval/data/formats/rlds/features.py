"""Reading of TFDS's `features.json`, which describes the features of a step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.data.files import need
from worldeval.data.finding import DataError
from worldeval.data.formats.rlds.example import Example

Kind = Literal["numbers", "image", "text"]


@dataclass(frozen=True, kw_only=True)
class StepFeature:
    """One feature of a step (or of the episode), with its key flattened as in the files."""

    key: str  # 'observation/image'
    kind: Kind
    shape: tuple[int, ...]  # of one step; -1 where it varies
    dtype: str
    encoding: str = "none"  # of a tensor: none, bytes or zlib

    @property
    def width(self) -> int:
        """Number of values per step; 0 if it varies."""
        return 0 if -1 in self.shape else int(np.prod(self.shape, dtype=int))


def read_features(content: Mapping[str, Any], path: Path) -> tuple[dict, dict]:
    """Read the features of a step, and those of the episode outside its steps, by key.

    Raises:
        DataError: it has no `steps`, so it is not an RLDS dataset.
    """
    top = need(need(content, "featuresDict", dict, path), "features", dict, path)
    steps = top.get("steps")
    inner = (steps or {}).get("sequence") or {}
    inner = inner.get("feature") or inner
    if not isinstance(inner, Mapping) or "featuresDict" not in inner:
        raise DataError(
            path, "steps", "there are no steps, so this is not an RLDS dataset of episodes."
        )
    beside = {name: feature for name, feature in top.items() if name != "steps"}
    return (
        {one.key: one for one in _flat(inner["featuresDict"].get("features") or {}, "")},
        {one.key: one for one in _flat(beside, "")},
    )


def stepwise(example: Example, feature: StepFeature, length: int) -> Float32[Array, "t n"]:
    """Read the numbers of a feature, one row per step.

    Raises:
        DataError: the file contains a different number of them.
    """
    key, width = f"steps/{feature.key}", feature.width
    if f"{key}/ragged_flat_values" in example:
        return _ragged(example, key, length)
    if feature.encoding != "none":
        values = _unpacked(example.cells(key), feature, example.file)
    else:
        values = example.numbers(key)
    if width == 0 or values.size != length * width:
        raise DataError(
            example.file, key, f"it has {values.size} values; expected {length * width} "
            f"({length} steps of {width})."
        )  # fmt: skip
    return values.reshape(length, width).astype(np.float32)


def _ragged(example: Example, key: str, length: int) -> Float32[Array, "t n"]:
    """Read a variable-length feature, in which every step must have equally many numbers."""
    counts = example.numbers(f"{key}/ragged_row_lengths_0")
    values = example.numbers(f"{key}/ragged_flat_values")
    if len(counts) != length or len(set(counts.tolist())) != 1:
        shown = sorted(set(counts.tolist()))[:5]
        raise DataError(
            example.file, key, f"{len(counts)} of {length} steps have different lengths ({shown}); "
            "expected vectors of one length."
        )  # fmt: skip
    return values.reshape(length, -1).astype(np.float32)


def _unpacked(cells: Sequence[bytes], feature: StepFeature, file: Path) -> Array:
    import zlib

    try:
        plain = [zlib.decompress(cell) if feature.encoding == "zlib" else cell for cell in cells]
        return np.concatenate([np.frombuffer(cell, feature.dtype) for cell in plain])
    except (zlib.error, ValueError, TypeError) as error:
        raise DataError(
            file, feature.key, f"its {feature.encoding} is damaged ({error})."
        ) from error


def _flat(features: Mapping[str, Any], prefix: str) -> Iterator[StepFeature]:
    for name, feature in features.items():
        key = f"{prefix}{name}"
        if "featuresDict" in feature:
            yield from _flat(feature["featuresDict"].get("features") or {}, f"{key}/")
        elif "image" in feature:
            said = feature["image"]
            yield StepFeature(
                key=key, kind="image", shape=_shape(said), dtype=_dtype(said, "uint8")
            )
        elif "text" in feature:
            yield StepFeature(key=key, kind="text", shape=(), dtype="object")
        elif "tensor" in feature:
            said = feature["tensor"]
            dtype = _dtype(said, "float32")
            kind: Kind = "text" if dtype in ("string", "object") else "numbers"
            encoding = str(said.get("encoding") or "none").lower()
            yield StepFeature(
                key=key, kind=kind, shape=_shape(said), dtype=dtype, encoding=encoding
            )
        elif "classLabel" in feature:
            yield StepFeature(key=key, kind="numbers", shape=(), dtype="int64")
        elif "sequence" in feature:
            inner = (feature["sequence"].get("feature") or {}).get("tensor")
            if inner is not None:
                shape = (int(feature["sequence"].get("length") or -1), *_shape(inner))
                yield StepFeature(key=key, kind="numbers", shape=shape, dtype=_dtype(inner, ""))


def _shape(said: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(side) for side in (said.get("shape") or {}).get("dimensions") or ())


def _dtype(said: Mapping[str, Any], otherwise: str) -> str:
    return str(said.get("dtype") or otherwise).removeprefix("tf.")
