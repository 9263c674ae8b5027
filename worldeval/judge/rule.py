"""Judge by a rule over predicted proprioception, such as `p2 > 0.2 and p3 < 0.1`.

A rule knows what the robot felt, never what the camera saw: it is right where the task is defined
by the robot's own state, and a check on other judges elsewhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldeval.errors import UserError
from worldeval.expression import Expression
from worldeval.judge.protocol import Appraisal
from worldeval.record import Episode

HELD = "held"


class RuleJudge:
    """Success once an expression is true at `held` frames in a row.

    It may use `p0`, `p1`, ... (columns of the pose, in the robot's units), `start_p0`, ... (their
    values at the start), `seconds`, `frame`, and names given to columns (`height=2`).
    """

    looks = False

    def __init__(self, text: str, params: Mapping[str, Any], *, columns: int) -> None:
        """Parse a rule.

        Args:
            params: `held` (frames, default 1), and further names of columns with their numbers.
            columns: number of pose columns.

        Raises:
            UserError: the rule names something unknown, or a parameter is invalid.
        """
        held = params.get(HELD, 1)
        if type(held) is not int or held < 1:
            raise UserError(f"The rule's held={held} must be a number of frames, 1 or more.")
        self._held = held
        self._names = {f"p{column}": column for column in range(columns)}
        for name, column in params.items():
            if name == HELD:
                continue
            if type(column) is not int or not 0 <= column < columns or not name.isidentifier():
                raise UserError(
                    f"The rule's parameter {name}={column} must be a name and the number of a "
                    f"pose column, 0 to {columns - 1}."
                )
            self._names[name] = column
        known = [*self._names, *(f"start_{name}" for name in self._names), "seconds", "frame"]
        self._rule = Expression(text, known, what="the rule")
        self.name, self.version = f"rule {text}", f"{sorted(params.items())}"

    def judge(self, episodes: Sequence[Episode]) -> list[Appraisal]:
        """Return 1 or 0 for every episode and frame. The first frame, the start, never counts."""
        return [self._one(episode) for episode in episodes]

    def _one(self, episode: Episode) -> Appraisal:
        true = [False]
        for frame in range(1, len(episode)):
            values = {name: float(episode.pose[frame, k]) for name, k in self._names.items()}
            start = {f"start_{name}": float(episode.pose[0, k]) for name, k in self._names.items()}
            time = {"frame": frame, "seconds": frame / episode.fps}
            true.append(self._rule({**values, **start, **time}))
        reached = _in_a_row(true, self._held)
        by_frame = np.maximum.accumulate(reached).astype(np.float32)
        return Appraisal(probability=float(by_frame[-1]), by_frame=by_frame)


def _in_a_row(true: Sequence[bool], count: int) -> np.ndarray:
    """Mark frames at which the last `count` frames, this one included, are all true."""
    run, out = 0, np.zeros(len(true), bool)
    for frame, one in enumerate(true):
        run = run + 1 if one else 0
        out[frame] = run >= count
    return out
