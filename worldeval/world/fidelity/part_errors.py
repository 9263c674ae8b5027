"""Errors of predicted poses, for every part of the robot in its own unit."""

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float
from worldeval.data.part import ANGLED, SI, Part
from worldeval.data.rotation import read_stored
from worldeval.data.space_text import read_space
from worldeval.world.protocol import WorldSpec

Errors = dict[str, tuple[str, Float[Array, " n"]]]  # what -> its unit, and the error of each pose


def part_errors(
    spec: WorldSpec, predicted: Float[Array, "n p"], recorded: Float[Array, "n p"]
) -> Errors:
    """Return the errors of every part of the pose, such as `left position` in mm.

    Positions: the distance; rotations: the angle, in degrees; joints: the root mean square;
    grippers: the mean distance. Numbers of unknown meaning have no unit to report an error in.
    Empty if the world does not know what its poses mean.
    """
    out: Errors = {}
    space = read_space(spec.pose_space) if spec.pose_space else None
    if space is None or space.size != spec.pose_dim:
        return out
    for part, span in space.spans():
        own = _of_part(part, predicted[:, span].astype(float), recorded[:, span].astype(float))
        for what, found in own.items():
            out[f"{part.name} {what}".strip()] = found
    return out


def _of_part(part: Part, predicted: Float[Array, "n w"], recorded: Float[Array, "n w"]) -> Errors:
    out: Errors = {}
    away = predicted - recorded
    if part.family in ("end-effector", "plane", "base"):
        axes = len(part.moving)
        unit, factor = ("mm", 1000.0) if part.unit == "m" else (part.unit, 1.0)
        out["position"] = _known(unit), factor * np.linalg.norm(away[:, :axes], axis=1)
    if part.family == "joints":
        own = away[:, : part.columns]
        out["joints"] = _known(part.unit), np.sqrt(np.square(own).mean(1))
    if part.family == "end-effector" and part.rotation != "xyz":
        turn, true = (_turns(part, each[:, 3 : part.columns]) for each in (predicted, recorded))
        if turn is not None and true is not None:
            out["rotation"] = "deg", np.degrees((turn * true.inv()).magnitude())
    if part.family in ("plane", "base") and part.columns == 3 and part.angle in SI:
        angle = away[:, 2] * SI[part.angle]
        out["angle"] = "deg", np.degrees(np.abs((angle + np.pi) % (2 * np.pi) - np.pi))
    if part.gripper:
        out["gripper"] = "", np.abs(away[:, part.columns :]).mean(1)
    return out


def _turns(part: Part, values: Float[Array, "n r"]) -> Rotation | None:
    """Rotations; None if their unit is not known, or a prediction is none."""
    if part.rotation == "xyz" or (part.rotation in ANGLED and part.angle not in SI):
        return None
    factor = SI[part.angle] if part.rotation in ANGLED else 1.0
    try:
        return read_stored(values * factor, part.rotation)
    except ValueError:
        return None


def _known(unit: str) -> str:
    return "" if unit in ("?", "1") else unit
