# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
"""Success and task of a robomimic file, as given by its rewards and attributes."""

import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from worldeval.axes import Array, UInt8
from worldeval.data.finding import DataError, DataFinding
from worldeval.data.formats import hdf5
from worldeval.data.truth import truth

REWARDS = "rewards"


def flags_of(demo: h5py.Group, path: Path) -> UInt8[Array, " t"] | None:
    """Success of every frame; None where nobody knows, or where rewards are shaped."""
    if "success" in demo.attrs and truth(demo.attrs["success"], unknown=-1) is None:
        return None
    return _sparse(demo, path)


def reward_tells(
    data: h5py.Group, demos: Sequence[str], path: Path, *, said: bool
) -> tuple[bool, list[DataFinding]]:
    """Whether rewards say what succeeded, and the finding where that is a guess or unknown.

    `said`: a map says what success is.
    """
    stored = [data[name] for name in demos if REWARDS in data[name]]
    if said or not stored or all("success" in data[name].attrs for name in demos):
        return False, []
    sparse = [_sparse(demo, path) for demo in stored]
    if any(flags is None for flags in sparse):
        return False, _noted(
            "no-success",
            "rewards are not 0 and 1, so they do not state which episodes succeeded. Define it in "
            "a map, such as success: reward >= 0.95.",
        )
    if not any(flags.any() for flags in sparse if flags is not None):
        return False, _noted("no-success", "all rewards are 0, so success is unknown.")
    return True, _noted(
        "success-guessed",
        "an episode with a reward of 1 counts as a success. A map can change this (success:).",
    )


def problem_text(data: h5py.Group) -> str:
    """LIBERO's instruction of the whole file; "" where there is none."""
    try:
        found = json.loads(hdf5.text(data.attrs.get("problem_info", "{}")))
        words = found.get("language_instruction", "")
        return ("".join(words) if isinstance(words, list) else str(words)).strip().strip('"')
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""  # another tool's


def _sparse(demo: h5py.Group, path: Path) -> UInt8[Array, " t"] | None:
    """Rewards that are 0 or 1 throughout; None where they are shaped, unknown or missing."""
    try:
        rewards = hdf5.dataset(demo, REWARDS, path)
        values = np.asarray(rewards[()]) if rewards.dtype.kind in "fiub" else None
    except (DataError, OSError, RuntimeError):
        return None
    if values is None or values.ndim != 1 or not np.isin(values, (0, 1)).all():
        return None
    return values.astype(np.uint8)


def _noted(code: str, text: str) -> list[DataFinding]:
    return [DataFinding(code=code, severity="note", episode=None, field=REWARDS, text=text)]
