"""Phases of an episode: approach, contact, after; by what moves, whatever the robot.

While only the robot moves, the picture changes about as much per distance that the robot travels as
it did so far. When something else begins to move as well, it changes more. Contact lasts from the
first to the last frame at which the change per travel is `EXCESS` times its median since the start
(over the frames in which the robot moves), two frames in a row. The travel is that of the pose
columns that give the robot's position (joints where there is no position). A fifth of the largest
step is added to it, so that a robot at rest does not count as one that moves something.

Against the simulator, the first frame of contact is off by 2 frames of 30 in the median; by 4 on
the two of five tasks that were not used to choose `EXCESS` (benchmarks/results/explain.json).
"""

from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Float
from worldeval.record import Rollout

APPROACH, CONTACT, AFTER = "approach", "contact", "after"
PHASES = (APPROACH, CONTACT, AFTER)
THIRDS = ("first third", "middle third", "last third")
EXCESS = 1.15
AT_REST = 0.2  # share of the largest step that is added to every step
SETTLED = 3  # steps from which a median is taken before a change can be noticed

RULE = (
    "Contact lasts from the first to the last frame at which the picture changes "
    f"{EXCESS:g} times as much per distance that the robot travels as it did before (two frames in "
    "a row); before it is the approach. A chunk has the phase of the losing policy's own episode."
)
RULE_OF_THIRDS = (
    "No contact was found in any episode, or the world model predicts no positions, so the phases "
    "are thirds of the episode's time."
)


@dataclass(frozen=True, kw_only=True)
class Contact:
    """The world frames from the first to the last at which something moves besides the robot."""

    first: int
    last: int


def contact_of(rollout: Rollout, place: tuple[int, ...]) -> Contact | None:
    """Find the contact of an imagined roll-out; None if nothing but the robot moves.

    Args:
        rollout: with latents.
        place: pose columns that give the robot's position (`WorldSpec.place`).
    """
    columns = [column for column in place if column < rollout.pose.shape[1]]
    if not columns or rollout.latents is None:
        return None
    latents = np.asarray(rollout.latents, np.float32)
    change = np.sqrt(np.square(np.diff(latents, axis=0)).reshape(len(latents) - 1, -1).mean(1))
    travel = np.linalg.norm(np.diff(rollout.pose[:, columns], axis=0), axis=1)
    if not travel.max(initial=0.0) > 0:
        return None
    # The first step leads from an observed to an imagined frame, which differ by more than motion.
    return _contact(change[1:], travel[1:], offset=2)


def phase_of(begin: int, end: int, contact: Contact | None) -> str:
    """Return the phase of the frames begin to end - 1 in an episode with this contact."""
    if contact is None or end <= contact.first:
        return APPROACH
    return AFTER if begin > contact.last else CONTACT


def third_of(begin: int, horizon: int) -> str:
    """Return the third of the episode's time in which a chunk begins."""
    return THIRDS[min(3 * begin // horizon, 2)]


def _contact(
    change: Float[Array, " t"], travel: Float[Array, " t"], *, offset: int
) -> Contact | None:
    """`offset` is the frame to which the first of these steps leads."""
    if not len(change):
        return None
    moving = travel > AT_REST * travel.max()
    ratio = change / (travel + AT_REST * travel.max() + 1e-9)
    high = []
    for step in range(SETTLED, len(ratio) - 1):
        before = slice(high[0] if high else step)
        if not moving[before].any():
            continue
        usual = np.median(ratio[before][moving[before]])
        if (ratio[step : step + 2] > EXCESS * usual).all():
            high += [step]
    return Contact(first=high[0] + offset, last=high[-1] + 1 + offset) if high else None
