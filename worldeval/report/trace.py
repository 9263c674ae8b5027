"""What an imagined episode did frame by frame: actions, poses, and signals of trust over time.

Read from the batch of the run store that holds it; no network is needed. Arrays that a store keeps
beside latents, actions and poses, one number a frame, are shown as further signals.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.report.filmstrip import inside

KNOWN = {"facts", "latents", "actions", "pose"}
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
    path = inside(folder, file)
    try:
        with np.load(path, allow_pickle=False) as batch:
            actions, pose = batch["actions"][row], batch["pose"][row]
            signals = _further(batch, row, len(pose))
            change = _change(batch, row)
    except (OSError, KeyError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} holds no roll-out in row {row}: {error}") from error
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


def _further(batch: np.lib.npyio.NpzFile, row: int, frames: int) -> dict[str, Array]:
    found = {}
    for name in batch.files:
        if name in KNOWN:
            continue
        values = batch[name]
        if values.ndim == 2 and values.dtype.kind in "fiub" and len(values) > row:
            own = values[row].astype(float)
            if len(own) == frames:
                found[name] = own
            elif len(own) == frames - 1:  # of the steps between frames
                found[name] = _after_first(own)
    return found


def _change(batch: np.lib.npyio.NpzFile, row: int) -> Array | None:
    """How much the latents change from frame to frame (RMS): a jump is a break in imagination."""
    if "latents" not in batch.files:
        return None
    # The size is told by the archive, before anything is read.
    assert batch.zip is not None  # it is open
    if batch.zip.getinfo("latents.npy").file_size > LARGEST:
        return None
    latents = batch["latents"][row].astype(np.float32)
    moved = np.diff(latents, axis=0).reshape(len(latents) - 1, -1)
    return _after_first(np.sqrt((moved**2).mean(axis=1)))


def _at_bound(actions: Float[Array, "t a"], frames: int) -> Array:
    share = (np.abs(actions) >= LIMIT).mean(axis=1)
    return np.pad(share, (frames - len(share), 0))


def _after_first(values: Array) -> Array:
    """A number of each step as one of the frame that it led to; nothing led to the first."""
    return np.concatenate([[0.0], np.asarray(values, float)])
