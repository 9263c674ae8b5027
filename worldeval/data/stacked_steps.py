"""Several recorded steps as one frame, for robots that are controlled faster than a model imagines.

A frame's action holds the actions of all its steps, one after another, so nothing is averaged and a
policy that gives one action per step can act in a model of such frames. What a stacked action does
follows from the meaning of one step's columns (world/body.py): deltas add up, the last absolute
target holds.
"""

from dataclasses import replace

import numpy as np

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.finding import DataFinding
from worldeval.data.source import Rows, Source
from worldeval.errors import UserError


class StackedSteps(Source):
    """A source of which every `steps`-th row is a frame.

    Frames are counted back from an episode's last row, at which success is usually seen; up to
    `steps - 1` rows at its beginning are left out. Success at any step since the last frame counts
    at a frame.

    Raises:
        UserError: an episode is shorter than one frame.
    """

    def __init__(self, source: Source, steps: int) -> None:
        self.source, self.steps = source, steps
        self.findings, self.mapped = source.findings, source.mapped
        spec = source.spec
        short = [head for head in source.heads if head.length <= steps]
        if short:
            raise UserError(
                f"{len(short)} of {len(source)} episodes of {spec.path} have at most {steps} "
                f"steps, so they are shorter than two frames of {steps} steps (the first: "
                f"{short[0].id}, {short[0].length}). Use a smaller --every, or remove them."
            )
        self.heads = [
            replace(head, length=len(_places(head.length, steps))) for head in source.heads
        ]
        self.spec = replace(
            spec,
            fps=spec.fps / steps,
            action_names=tuple(
                f"{name}@{step + 1}" for step in range(steps) for name in spec.action_names
            ),
        )

    def rows(self, index: int) -> Rows:
        rows, places = self.source.rows(index), self._places(index)
        last = len(rows.actions) - 1
        # Beyond the last row there is no action, and that of an episode's last frame is unused.
        each = np.minimum(places[:, None] + np.arange(self.steps), last)
        since = np.maximum(places[:, None] - np.arange(self.steps), places[0])
        return Rows(
            actions=rows.actions[each].reshape(len(places), -1),
            pose=rows.pose[places],
            times=None if rows.times is None else rows.times[places],
            flags=None if rows.flags is None else rows.flags[since].max(1),
            task=None if rows.task is None else rows.task[places],
        )

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        places = self._places(index)
        return self.source.frames(index, view, places if rows is None else places[rows])

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        return self.source.column(index, key)[self._places(index)]

    def examine(self) -> list[DataFinding]:
        return self.source.examine()

    def has_latents(self, index: int) -> bool:
        return self.source.has_latents(index)

    def latents(self, index: int) -> dict[str, Float32[Array, "t d h w"]]:
        places = self._places(index)
        return {view: found[places] for view, found in self.source.latents(index).items()}

    def _places(self, index: int) -> Int[Array, " f"]:
        return _places(self.source.heads[index].length, self.steps)


def _places(length: int, steps: int) -> Int[Array, " f"]:
    """Rows of an episode that are frames."""
    return np.arange((length - 1) % steps, length, steps)


def steps_for(source: Source, fps: float) -> int:
    """Return how many recorded steps make a frame at `fps` frames per second.

    Raises:
        UserError: the recorded rate is no whole multiple of it.
    """
    steps = round(source.spec.fps / fps) if fps > 0 else 0
    if steps < 1 or abs(source.spec.fps / steps / fps - 1) > 1e-3:
        raise UserError(
            f"{source.spec.path} has {source.spec.fps:g} frames per second, which cannot be "
            f"resampled to {fps:g}: it is no whole multiple of it. Choose {source.spec.fps:g} "
            "divided by a whole number. If the dataset states a wrong rate, correct it in a map "
            "(--map, key fps)."
        )
    return steps
