"""What an imagined episode did frame by frame: actions, poses, and signals of trust over time.

Read from the batch of the run store that holds it; no network is needed. Arrays that a store keeps
beside latents, actions and poses, one number a frame, are shown as further signals.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.runs.store import RolloutStore

KNOWN = {"latents", "actions", "pose"}
EVIDENCE = ("evidence", "over_time")  # names under which a store keeps the judge's probability
LIMIT = 0.999  # of an action's magnitude, from which it stands at its bound
LARGEST = 256 * 2**20  # bytes of a batch's latents that are still read for one number a frame


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The numbers of one imagined episode. Frame 0 is observed, the others are imagined."""

    actions: Float[Array, "t a"]
    pose: Float[Array, "_n p"]
    evidence: Float[Array, " _n"] | None = None  # the judge's probability of success by each frame
    signals: Mapping[str, Float[Array, " _n"]] = field(default_factory=dict)  # one number a frame

    @property
    def frames(self) -> int:
        """World frames, the first among them."""
        return len(self.pose)


def read_trace(folder: Path, file: str, row: int) -> Trace:
    """The trace of the roll-out in row `row` of a batch of the run store `folder`.

    Raises:
        UserError: the file is missing, damaged, lies outside of the store, or lacks the row.
    """
    arrays = RolloutStore(folder).arrays(file, row, largest=LARGEST)
    if missing := {"actions", "pose"} - arrays.keys():
        raise UserError(f"{folder / file} lacks the array {', '.join(sorted(missing))}.")
    actions, pose = arrays["actions"], arrays["pose"]
    signals = _further(arrays, len(pose))
    change = _change(arrays.get("latents"))
    evidence = next((signals.pop(name) for name in EVIDENCE if name in signals), None)
    computed = {"action numbers at their bound, share": _at_bound(actions, len(pose))}
    if pose.shape[1] >= 3:
        computed["step of the hand"] = _after_first(
            np.linalg.norm(np.diff(pose[:, :3], axis=0), axis=1)
        )
    if change is not None:
        computed["change of the latents"] = change
    return Trace(actions=actions, pose=pose, evidence=evidence, signals={**signals, **computed})


def action_steps(actions: Float[Array, "t a"], step: int) -> Float[Array, "_s _d"]:
    """A world frame's action taken apart into the robot's own steps of `step` numbers."""
    if step <= 0 or actions.shape[1] % step:
        return actions
    return actions.reshape(-1, step)


def pose_names(count: int) -> list[str]:
    """Names for the numbers of a pose: position, orientation, gripper, as `Episode` has them."""
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
    """How much the latents change from frame to frame (RMS): a jump is a break in imagination."""
    if latents is None:
        return None
    moved = np.diff(latents.astype(np.float32), axis=0).reshape(len(latents) - 1, -1)
    return _after_first(np.sqrt((moved**2).mean(axis=1)))


def _at_bound(actions: Float[Array, "t a"], frames: int) -> Array:
    share = (np.abs(actions) >= LIMIT).mean(axis=1)
    return np.pad(share, (frames - len(share), 0))


def _after_first(values: Array) -> Array:
    """A number of each step as one of the frame that it led to; nothing led to the first."""
    return np.concatenate([[0.0], np.asarray(values, float)])
