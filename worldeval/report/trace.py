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
from worldeval.runs.store import RolloutStore

KNOWN = {"latents", "actions", "pose"}
EVIDENCE = ("evidence", "over_time")  # names of the judge's probability in a store
LIMIT = 0.999  # of an action's magnitude, from which it stands at its bound
LARGEST = 256 * 2**20  # bytes of a batch's latents that are still read for one number a frame


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


def read_trace(folder: Path, file: str, row: int) -> Trace:
    """Read the trace of the roll-out in row `row` of a batch of the run store `folder`.

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
    if pose.shape[1] >= 3:
        computed["hand movement per frame"] = _after_first(
            np.linalg.norm(np.diff(pose[:, :3], axis=0), axis=1)
        )
    if change is not None:
        computed["change in the latents"] = change
    return Trace(actions=actions, pose=pose, evidence=evidence, signals={**signals, **computed})


def action_steps(actions: Float[Array, "t a"], step: int) -> Float[Array, "_s _d"]:
    """Split each world frame's action into robot steps of `step` numbers."""
    if step <= 0 or actions.shape[1] % step:
        return actions
    return actions.reshape(-1, step)


def pose_names(count: int) -> list[str]:
    """Name the numbers of a pose: position, orientation and gripper, in the order of `Episode`."""
    if count < 3:
        return [f"pose {place + 1}" for place in range(count)]
    turns = [f"orientation {place + 1}" for place in range(count - 4)]
    return ["x", "y", "z", *turns, *(["gripper"] if count > 3 else [])]


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
