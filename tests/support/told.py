"""Episodes as robots record them: latents came with them, and everyone was told something else."""

from pathlib import Path

import numpy as np

from worldeval.data.source import Head, Rows, Source, SourceSpec

WORDS = ("put the cup down", "", "open the drawer")  # of one episode after another
LENGTH = 8
AXES = ("x", "y", "z", "gripper")


class Told(Source):
    """Nine episodes of one arm in memory: one view of 16 pixels, latents of 2 x 4 x 4."""

    def __init__(self, path: Path) -> None:
        self.spec = SourceSpec(
            format="memory",
            path=path,
            fps=5.0,
            views={"top": (16, 16)},
            action_names=AXES,
            pose_names=AXES,
        )
        self.findings = []
        self.heads = [
            Head(id=str(i), length=LENGTH, task=WORDS[i % 3], success=True) for i in range(9)
        ]

    def rows(self, index: int) -> Rows:
        walk = np.random.default_rng(index).normal(0, 0.05, (LENGTH + 1, 4)).cumsum(0)
        pose = walk.astype(np.float32)
        return Rows(actions=pose[1:], pose=pose[:-1])

    def frames(self, index: int, view: str, rows=None):
        made = np.random.default_rng(index).integers(0, 255, (LENGTH, 16, 16, 3), np.uint8)
        return made if rows is None else made[rows]

    def has_latents(self, index: int) -> bool:
        return True

    def latents(self, index: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(index)
        return {"top": rng.standard_normal((LENGTH, 2, 4, 4)).astype(np.float32)}
