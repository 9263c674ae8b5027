"""Actions, poses and trust signals of an imagined episode, frame by frame.

They are read from the run store, without loading a network. Further arrays of the store that have
one number per frame are shown as signals.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.files import read_json
from worldeval.report.fidelity import CARD
from worldeval.runs.store import RolloutStore

HAND = (0, 1, 2)  # x, y and z of an end effector
KNOWN = {"latents", "actions", "pose"}
EVIDENCE = ("evidence", "over_time")  # names of the judge's probability in a store
LIMIT = 0.999  # of an action's magnitude, from which it stands at its bound
LARGEST = 256 * 2**20  # bytes of a batch's latents that are still read for one number a frame


@dataclass(frozen=True, kw_only=True)
class RobotPlace:
    """Which numbers of a pose give the robot's position, and their unit."""

    columns: tuple[int, ...]
    unit: str  # m, px, rad, ...; "" if it is not known

    @property
    def is_hand(self) -> bool:
        """Whether these are x, y and z of one end effector."""
        return (self.columns, self.unit) == (HAND, "m")


def read_place(world: Path) -> RobotPlace | None:
    """Read the place from a world model's card, without loading the model; None if it says nothing.

    Worlds that were saved before cards described the robot have an end effector whose x, y and z
    come first.
    """
    try:
        card = read_json(world / CARD)
        spec = card["spec"]
        body = spec.get("body")
        if body is None:
            return RobotPlace(columns=HAND[: int(spec["pose_dim"])], unit="m")
        return RobotPlace(columns=tuple(int(c) for c in body["place"]), unit=str(body["unit"]))
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Numbers of one imagined episode. Frame 0 is observed, the others are imagined."""

    actions: Float[Array, "t a"]
    pose: Float[Array, "_n p"]
    evidence: Float[Array, " _n"] | None = None  # the judge's probability of success by each frame
    signals: Mapping[str, Float[Array, " _n"]] = field(default_factory=dict)  # one number a frame

    @property
    def frames(self) -> int:
        """Number of world frames, including the first."""
        return len(self.pose)


def read_trace(folder: Path, file: str, row: int, *, place: RobotPlace | None = None) -> Trace:
    """Read the trace of the roll-out in row `row` of a batch of the run store `folder`.

    The robot's movement per frame is a signal if its `place` in the pose is known.

    Raises:
        UserError: the file is missing, damaged or outside of the store, or lacks the row.
    """
    arrays = RolloutStore(folder).arrays(file, row, largest=LARGEST)
    if missing := {"actions", "pose"} - arrays.keys():
        raise UserError(f"{folder / file} lacks the array {', '.join(sorted(missing))}.")
    actions, pose = arrays["actions"], arrays["pose"]
    signals = _further(arrays, len(pose))
    change = _change(arrays.get("latents"))
    evidence = next((signals.pop(name) for name in EVIDENCE if name in signals), None)
    computed = {"share of action values at their bound": _at_bound(actions, len(pose))}
    if place is not None and place.columns and max(place.columns) < pose.shape[1]:
        unit = f" ({place.unit})" if place.unit else ""
        computed[f"movement per frame{unit}"] = _after_first(
            np.linalg.norm(np.diff(pose[:, list(place.columns)], axis=0), axis=1)
        )
    if change is not None:
        computed["change in the latents"] = change
    return Trace(actions=actions, pose=pose, evidence=evidence, signals={**signals, **computed})


def action_steps(actions: Float[Array, "t a"], step: int) -> Float[Array, "_s _d"]:
    """Split each world frame's action into robot steps of `step` numbers."""
    if step <= 0 or actions.shape[1] % step:
        return actions
    return actions.reshape(-1, step)


def pose_names(count: int, place: RobotPlace | None) -> list[str]:
    """Name the numbers of a pose: x, y and z of a hand, or else which are the robot's position."""
    names = [f"pose {column + 1}" for column in range(count)]
    for order, column in enumerate(place.columns if place else ()):
        if place and column < count:
            names[column] = "xyz"[order] if place.is_hand else f"position {order + 1}"
    return names


def _further(arrays: Mapping[str, Array], frames: int) -> dict[str, Array]:
    found = {}
    for name, values in arrays.items():
        if name in KNOWN or values.ndim != 1 or values.dtype.kind not in "fiub":
            continue
        if len(values) == frames:
            found[name] = values.astype(float)
        elif len(values) == frames - 1:  # of the steps between frames
            found[name] = _after_first(values.astype(float))
    return found


def _change(latents: Array | None) -> Array | None:
    """Compute the RMS change of the latents between frames; a jump marks a discontinuity."""
    if latents is None:
        return None
    moved = np.diff(latents.astype(np.float32), axis=0).reshape(len(latents) - 1, -1)
    return _after_first(np.sqrt((moved**2).mean(axis=1)))


def _at_bound(actions: Float[Array, "t a"], frames: int) -> Array:
    share = (np.abs(actions) >= LIMIT).mean(axis=1)
    return np.pad(share, (frames - len(share), 0))


def _after_first(values: Array) -> Array:
    """Assign the number of each step to the frame it leads to; the first frame gets 0."""
    return np.concatenate([[0.0], np.asarray(values, float)])
