"""Conversion of GR00T's `meta/modality.json` to a map.

The file divides `state` and `action` of a LeRobot dataset into named parts, names the cameras and
locates the instruction. It states the form of a rotation and whether a part is absolute. Any
other meaning of a part is guessed from its name, and marked as a guess.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldeval.data.rotation import SIZES
from worldeval.errors import UserError

STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
FORMS = {
    "quaternion": "quaternion",
    "axis_angle": "axis-angle",
    "rotation_6d": "6d",
    "euler_angles_rpy": "euler",
}
BY_NAME = (
    (r"gripper", "gripper"),
    (r"base|velocity|navigat", "base"),
    (r"arm|hand|leg|waist|neck|joint|finger|torso|height", "joint"),
)
POSITION = re.compile(r"pos(ition)?$|^(xyz|eef_pos)", re.IGNORECASE)
SIDE = re.compile(r"left|right", re.IGNORECASE)


def is_modality(raw: Mapping[str, Any]) -> bool:
    """Return whether this is the content of a `modality.json`."""
    return isinstance(raw.get("state"), Mapping) and "video" in raw


def read_modality(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Convert the content of a `modality.json` to the content of an equivalent map.

    Raises:
        UserError: a part has no valid `start` and `end`, or parts overlap.
    """
    out: dict[str, Any] = {
        "action": _numbers(raw.get("action") or {}, ACTION, f"{path}: action"),
        "pose": _numbers(raw["state"], STATE, f"{path}: state"),
        "views": {
            name: str((part or {}).get("original_key") or IMAGES + name)
            for name, part in (raw["video"] or {}).items()
        },
    }
    said = [part.get("original_key") for part in (raw.get("annotation") or {}).values() if part]
    texts = [key for key in said if key and key != "task_index"]
    if len(texts) == 1:
        out["task_key"] = texts[0]
    return out


def _numbers(parts: Mapping[str, Any], default: str, where: str) -> dict[str, Any]:
    listed = []
    for name, part in parts.items():
        begin, end = (part.get(side) for side in ("start", "end"))
        if not (isinstance(begin, int) and isinstance(end, int) and 0 <= begin < end):
            raise UserError(
                f"{where}.{name}: start {begin} and end {end} are not a valid range of columns."
            )
        listed.append((str(part.get("original_key") or default), begin, end, name, part))
    order = list(dict.fromkeys(key for key, *_ in listed))
    listed.sort(key=lambda each: (order.index(each[0]), each[1]))
    groups: list[dict[str, Any]] = []
    place, at = 0, ""
    for key, begin, end, name, part in listed:
        place = place if key == at else 0
        if begin < place:
            raise UserError(
                f"{where}.{name} starts at column {begin}, which belongs to another part."
            )
        if begin > place:  # columns that belong to no part still exist
            spare = [f"{key}_{column}" for column in range(place, begin)]
            groups.append({"names": spare, "guessed": True})
        groups.append(_group(name, end - begin, part))
        place, at = end, key
    return {"keys": order, "columns": groups}


def _group(name: str, size: int, part: Mapping[str, Any]) -> dict[str, Any]:
    columns = [name] if size == 1 else [f"{name}_{i}" for i in range(size)]
    side = SIDE.search(name)
    group: dict[str, Any] = {"names": columns, "arm": side[0].lower() if side else ""}
    group["motion"] = "absolute" if part.get("absolute", True) else "delta"
    form = FORMS.get(str(part.get("rotation_type") or ""))
    if form is not None and SIZES[form] == size:
        return group | {"means": "rotation", "form": form}
    group["guessed"] = True
    if size == 3 and POSITION.search(name):
        return group | {"means": "position"}
    for pattern, means in BY_NAME:
        if re.search(pattern, name, re.IGNORECASE) and (means != "base" or size in (2, 3)):
            return group | {"means": means}
    return group
