"""Weights of latent cells in the loss: more where a frame shows what the pose does not explain.

Kinematics predict the arm, and most of a scene stands still; objects are a few cells among many, so
that an average over all cells hardly asks for them.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from worldeval.axes import Array, Float, Int
from worldeval.world.pose_only import PoseOnly
from worldeval.world.training.windows import Windows

MOST = 40_000  # frames that the mean frame of a pose is fitted to
BLOCK = 2_000
LARGEST = 8.0  # times the mean squared distance from the mean frame, at which weights stop growing


def own_cells(
    windows: Windows, episodes: Int[Array, " e"], *, own: float
) -> Float[Tensor, "n v h w"]:
    """Return weights of every cell of every frame of the data; those of `episodes` average 1.

    A cell's weight is 1 + `own` times its squared distance from what the pose tells (pose_only.py),
    in units of the mean squared distance, before the weights are scaled to their mean.
    """
    data = windows.data
    rows = torch.from_numpy(data.transitions(episodes, 0))
    rows = rows[:: max(1, len(rows) // MOST)]
    task = windows.task
    of_pose = PoseOnly(
        windows.pose[rows], task[rows], _blocks(windows, rows), tasks=int(task.max()) + 1
    )
    every = torch.arange(len(windows.pose))
    away = torch.cat(
        [
            (block - of_pose(windows.pose[part], task[part]))
            .unflatten(1, data.latents.shape[1:])
            .square()
            .mean(2)
            .half()
            for part, block in _blocks(windows, every)
        ]
    ).float()
    weight = 1 + own * (away / away[rows].mean()).clamp(max=LARGEST)
    return weight / weight[rows].mean()


def _blocks(
    windows: Windows, rows: Int[Tensor, " n"]
) -> Iterator[tuple[slice, Float[Tensor, "m k"]]]:
    for begin in range(0, len(rows), BLOCK):
        part = slice(begin, min(begin + BLOCK, len(rows)))
        yield part, windows.data.gather(rows[part].numpy()).flatten(1)
