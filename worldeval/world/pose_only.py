"""What the robot's pose alone tells of a frame; the rest moves or lies there by itself.

A fixed camera shows the robot where its pose says that it is, in front of a scene that is the same
in every episode. The mean frame at a pose therefore shows the robot and the scene, and where an
episode differs from it, it shows something else: an object in its place. This finds objects by a
rule, in the frames or the latents of any dataset, without anything that is said of them.

The mean is a ridge regression on random Fourier features of the pose (Rahimi & Recht, 2007), for
every task by itself, solved in closed form.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from worldeval.axes import Float, Int

FEATURES = 256
# Of the frequencies, in radians per standard deviation of the pose: coarse and fine motion.
SPREADS = (0.5, 1.5, 4.0)
RIDGE = 1.0  # added to the diagonal; the features' squares add up to about half the frames


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
        gram = RIDGE * torch.eye(wide).expand(tasks, -1, -1).clone()
        gram[:, 0, 0] = 1e-3  # the mean itself is hardly shrunk
        product: Tensor | None = None
        for rows, block in values:
            if product is None:
                product = torch.zeros(tasks, wide, block.shape[1])
            for index in task[rows].unique().tolist():
                own = task[rows] == index
                known = seen[rows][own]
                gram[index] += known.T @ known
                product[index] += known.T @ block[own]
        assert product is not None, "no frames"
        self.weight = torch.linalg.solve(gram, product)

    def features(self, pose: Float[Tensor, "n p"]) -> Float[Tensor, "n f"]:
        """Return one, the pose, and waves of it."""
        unit = ((pose - self.mean) / self.std).clamp(-6, 6)
        waves = (unit @ self.frequency + self.phase).cos()
        return torch.cat([torch.ones(len(pose), 1), unit, waves], 1)

    def __call__(self, pose: Float[Tensor, "n p"], task: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """Return the mean values at these poses."""
        seen = self.features(pose)
        out = torch.empty(len(pose), self.weight.shape[2])
        for index in task.unique().tolist():
            own = task == index
            out[own] = seen[own] @ self.weight[index]
        return out
