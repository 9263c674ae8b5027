"""How far an episode got: what is learned as progress, and what is shown.

The recordings hold no progress, only when an episode succeeded, so this is what is learned:

- In an episode that succeeds at frame T, progress at frame t is t / T, and 1 from T on: the share
  of the time to success that has passed. If only the whole episode has a label, T is its last
  frame.
- A failure has no such time, so its frames have no target. They are only held below `ALMOST`:
  whatever a failure reaches, it did not finish.

Because progress is read from single frames (sequence.py), a failure is measured by how far along
the way of a success its frames look. Shown is the best so far (hindsight), so it never falls: an
episode that pulls the drawer half open and lets go came half the way. It is no probability and is
not calibrated, and time is not effort: a task with a long approach has much progress before
anything is touched.
"""

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Bool, Float, Int

ALMOST = 0.9  # progress that a failure may reach while learning
WEIGHT = 1.0  # of the loss of progress beside that of success


def progress_target(
    achieved: Float[Tensor, "b t"], timed: Bool[Tensor, " b"], last: Int[Tensor, " b"]
) -> Float[Tensor, "b t"]:
    """Return t / T for episodes that succeed at T; the rows of failures mean nothing.

    Args:
        timed: whether success is known frame by frame.
        last: last frame of the recording; later ones repeat it.
    """
    count = achieved.shape[1]
    first = torch.where(timed, count - achieved.sum(1), last).clamp_min(1)
    return (torch.arange(count, device=achieved.device) / first[:, None]).clamp_max(1.0)


def progress_loss(
    progress: Float[Tensor, "b t"],
    achieved: Float[Tensor, "b t"],
    timed: Bool[Tensor, " b"],
    last: Int[Tensor, " b"],
) -> Tensor:
    """Squared error of successes, and of failures only what is above `ALMOST`."""
    over = (progress - ALMOST).clamp_min(0)
    error = progress - progress_target(achieved, timed, last)
    succeeded = achieved[:, -1:] > 0
    return WEIGHT * torch.where(succeeded, error, over).square().mean()


def best_so_far(progress: Float[Array, "b t"]) -> Float[Array, "b t"]:
    """Return the largest progress up to each frame, in addition to that of the start.

    What the start already looks like is no progress: g becomes (g - g_0) / (1 - g_0), at least 0.
    """
    start = progress[:, :1].clip(max=1 - 1e-3)
    gained = ((progress - start) / (1 - start)).clip(0.0, 1.0)
    return np.maximum.accumulate(gained, axis=1)
