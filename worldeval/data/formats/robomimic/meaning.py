# h5py types every item as a group, dataset or datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
"""Success, task and the meaning of actions in a robomimic file, as its attributes state them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from worldeval.axes import Array, UInt8
from worldeval.data.columns import ColumnGroup, Groups
from worldeval.data.finding import DataError, DataFinding
from worldeval.data.formats import hdf5
from worldeval.data.truth import truth

REWARDS = "rewards"


def flags_of(demo: h5py.Group, path: Path) -> UInt8[Array, " t"] | None:
    """Return the success of every frame; None if it is unknown or rewards are shaped."""
    if "success" in demo.attrs and truth(demo.attrs["success"], unknown=-1) is None:
        return None
    return _sparse(demo, path)


def reward_tells(
    data: h5py.Group, demos: Sequence[str], path: Path, *, said: bool
) -> tuple[bool, list[DataFinding]]:
    """Whether rewards indicate success, with a finding if that is a guess or unknown.

    `said`: whether a map defines success.
    """
    stored = [data[name] for name in demos if REWARDS in data[name]]
    if said or not stored or all("success" in data[name].attrs for name in demos):
        return False, []
    sparse = [_sparse(demo, path) for demo in stored]
    if any(flags is None for flags in sparse):
        return False, _noted(
            "no-success",
            "rewards are not 0 and 1, so they do not state which episodes succeeded. Give a rule "
            "in a map, such as success: reward >= 0.95.",
        )
    if not any(flags.any() for flags in sparse if flags is not None):
        return False, _noted("no-success", "all rewards are 0, so success is unknown.")
    return True, _noted(
        "success-guessed",
        "an episode with a reward of 1 counts as successful. A map can change this (success:).",
    )


def controlled(environment: Mapping[str, Any], names: Sequence[str]) -> Groups:
    """Return the meaning of one arm's actions under robosuite's operational space control.

    `environment` is a file's `env_args`. Changes of the pose are shares of the controller's largest
    step, in [-1, 1], so they have no unit. Empty for other controllers and for several arms.
    """
    arguments = environment.get("env_kwargs")
    arm = _arm(arguments) if isinstance(arguments, dict) else {}
    turned = {"OSC_POSE": 3, "OSC_POSITION": 0}.get(str(arm.get("type")))
    moved = arm.get("input_type") == "delta" or arm.get("control_delta") is True
    if turned is None or not moved or len(names) != 3 + turned + 1:
        return ()
    names = tuple(names)
    position = ColumnGroup(names=names[:3], means="position", motion="delta")
    rotation = ColumnGroup(names=names[3:6], means="rotation", form="axis-angle", motion="delta")
    gripper = ColumnGroup(names=names[-1:], means="gripper", open=-1.0, closed=1.0)
    return (position, rotation, gripper) if turned else (position, gripper)


def _arm(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The controller of a robot with one arm; empty if there is none or more than one."""
    robots, found = arguments.get("robots"), arguments.get("controller_configs")
    robots = [robots] if isinstance(robots, str) else robots
    found = found[0] if isinstance(found, list) and len(found) == 1 else found
    if not isinstance(found, dict) or not isinstance(robots, list) or len(robots) != 1:
        return {}
    parts = found.get("body_parts")  # since robosuite 1.5; before, the arm's controller itself
    if not isinstance(parts, dict):
        return found
    # robosuite's own files also describe parts that the robot does not have.
    arm = parts.get("right")
    return arm if isinstance(arm, dict) else {}


def problem_text(data: h5py.Group) -> str:
    """Return LIBERO's instruction for the whole file; "" if there is none."""
    try:
        found = json.loads(hdf5.text(data.attrs.get("problem_info", "{}")))
        words = found.get("language_instruction", "")
        return ("".join(words) if isinstance(words, list) else str(words)).strip().strip('"')
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""  # written by another tool


def unread_pictures(observed: h5py.Group) -> list[DataFinding]:
    """Report cameras whose images are not uint8, because their value of white is unknown."""
    keys = [key for key, found in observed.items() if _is_wide(found)]
    if not keys:
        return []
    text = (
        f"contains images of {observed[keys[0]].dtype}, not uint8, and is not used as a view. "
        "Store them as uint8 (0 to 255)."
    )
    return [
        DataFinding(
            code="pictures-left-out",
            severity="warning",
            episode=None,
            field=", ".join(keys),
            text=text,
        )
    ]


def _is_wide(found: object) -> bool:
    """Whether a dataset is (t, h, w, 3) of numbers other than uint8, and not of small matrices."""
    return (
        isinstance(found, h5py.Dataset)
        and found.ndim == 4
        and found.shape[-1] == 3
        and min(found.shape[1:3]) > 8
        and found.dtype.kind in "fui"
        and found.dtype != np.uint8
    )


def _sparse(demo: h5py.Group, path: Path) -> UInt8[Array, " t"] | None:
    """Return rewards that are all 0 or 1; None if they are shaped, unknown or missing."""
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
