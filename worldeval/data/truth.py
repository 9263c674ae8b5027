"""Parsing of truth values in the forms in which files store them."""

import math
from typing import Any

import numpy as np

WORDS = {
    "true": True,
    "false": False,
    "yes": True,
    "no": False,
    "1": True,
    "0": False,
    "1.0": True,
    "0.0": False,
    "success": True,
    "failure": False,
    "succeeded": True,
    "failed": False,
    "fail": False,
}
NOTHING = ("", "nan", "none", "null", "unknown")


def truth(value: Any, *, unknown: int | None = None) -> bool | None:
    """Convert a stored value to true, false, or None if it is unknown (empty, NaN, null).

    A list or array of one value is that value. `bool("False")` and `bool([False])` are True, and so
    is a NaN, which is why no reader may ask Python.

    Args:
        unknown: a number that stands for unknown in this format, such as -1.

    Raises:
        ValueError: it is neither yes nor no.
    """
    if isinstance(value, np.ndarray | list | tuple):
        flat = np.asarray(value, dtype=object).reshape(-1)
        if len(flat) != 1:
            raise ValueError(f"{value!r:.60} has {len(flat)} values; expected one")
        value = flat[0]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        word = value.strip().casefold()
        if word in NOTHING:
            return None
        if word in WORDS:
            return WORDS[word]
    elif value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    elif isinstance(value, bool):
        return value
    elif isinstance(value, int | float):
        if unknown is not None and value == unknown:
            return None
        if value in (0, 1):
            return bool(value)
    raise ValueError(f"{value!r:.60} is neither true nor false")
