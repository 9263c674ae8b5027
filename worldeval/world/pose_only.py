"""What the robot's pose alone tells of a frame; the rest moves or lies there by itself.

A fixed camera shows the robot where its pose says that it is, in front of a scene that is the same
in every episode. The mean frame at a pose therefore shows the robot and the scene, and where an
episode differs from it, it shows something else: an object in its place. This finds objects by a
rule, in the frames or the latents of any dataset, without anything that is said of them.

The mean is a ridge regression on random Fourier features of the pose (Rahimi & Recht, 2007), for
every task by itself, solved in closed form. The ridge of each task is the one with the least
generalised cross-validation error (Golub, Heath & Wahba, 1979), so that a few frames do not make a
wild mean.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from worldeval.axes import Float, Int

FEATURES = 256
# Of the frequencies, in radians per standard deviation of the pose: coarse and fine motion.
SPREADS = (0.5, 1.5, 4.0)
RIDGES = tuple(10.0**power for power in range(-1, 5))  # of which the data choose
CONSTANT = 100.0  # the first feature; so large that the mean itself is not shrunk


class PoseOnly:
    """Predict the values of a frame from the task and the robot's pose."""

    def __init__(
        self,
        pose: Float[Tensor, "n p"],
        task: Int[Tensor, " n"],
        values: Iterable[tuple[slice, Float[Tensor, "m k"]]],
        *,
        tasks: int,
        seed: int = 0,
    ) -> None:
        """Fit to frames whose values come block by block, each with its rows.

        Args:
            pose, task: of every frame.
            values: rows of a block, and the values of its frames.
            tasks: number of tasks; those without a frame predict zeros.
        """
        generator = torch.Generator().manual_seed(seed)
        self.mean = pose.mean(0)
        self.std = pose.std(0).clamp_min(1e-3) if len(pose) > 1 else torch.ones(pose.shape[1])
        spread = torch.tensor(SPREADS).repeat(FEATURES)[:FEATURES]
        self.frequency = spread * torch.randn(pose.shape[1], FEATURES, generator=generator)
        self.phase = 2 * torch.pi * torch.rand(FEATURES, generator=generator)
        seen, wide = self.features(pose), 1 + pose.shape[1] + FEATURES
        gram = torch.zeros(tasks, wide, wide, dtype=torch.float64)
        square = torch.zeros(tasks, dtype=torch.float64)
        product: Tensor | None = None
        for rows, block in values:
            if product is None:
                product = torch.zeros(tasks, wide, block.shape[1])
            for index in task[rows].unique().tolist():
                own = task[rows] == index
                known, given = seen[rows][own], block[own]
                gram[index] += (known.T @ known).double()
                product[index] += known.T @ given
                square[index] += given.square().sum()
        assert product is not None, "no frames"
        count = torch.bincount(task, minlength=tasks).tolist()
        self.weight = torch.stack(
            [_ridge(*each) for each in zip(gram, product, square.tolist(), count, strict=True)]
        )

    def features(self, pose: Float[Tensor, "n p"]) -> Float[Tensor, "n f"]:
        """Return a constant, the pose, and waves of it."""
        unit = ((pose - self.mean) / self.std).clamp(-6, 6)
        waves = (unit @ self.frequency + self.phase).cos()
        return torch.cat([torch.full((len(pose), 1), CONSTANT), unit, waves], 1)

    def __call__(self, pose: Float[Tensor, "n p"], task: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """Return the mean values at these poses."""
        seen = self.features(pose)
        out = torch.empty(len(pose), self.weight.shape[2])
        for index in task.unique().tolist():
            own = task == index
            out[own] = seen[own] @ self.weight[index]
        return out


def _ridge(
    gram: Float[Tensor, "f f"], product: Float[Tensor, "f k"], square: float, count: int
) -> Float[Tensor, "f k"]:
    """Solve for the ridge with the least generalised cross-validation error, over all values.

    Args:
        gram, product: the features' products with themselves and with the values.
        square: sum of the squared values.
        count: number of frames.
    """
    size, axes = torch.linalg.eigh(gram)
    size = size.clamp_min(0)
    turned = axes.T.float() @ product
    strength = turned.square().sum(1).double()
    best, chosen = torch.inf, RIDGES[-1]
    for ridge in RIDGES:
        shrunk = size + ridge
        rest = square - 2 * (strength / shrunk).sum() + (size * strength / shrunk.square()).sum()
        free = 1 - float((size / shrunk).sum()) / max(count, 1)
        error = float(rest.clamp_min(0)) / max(free, 1e-3) ** 2
        if error < best:
            best, chosen = error, ridge
    return axes.float() @ (turned / (size + chosen).float()[:, None])
