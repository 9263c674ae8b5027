"""Judge by a rule over predicted proprioception and other judges: `judge > 0.8 and p2 > 0.2`.

A rule over proprioception knows what the robot felt, never what the camera saw: it is right where
the task is defined by the robot's own state. With another judge's probability at each frame, it
joins the two.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.expression import Expression
from worldeval.judge.protocol import Appraisal, FrameJudge, looks
from worldeval.judge.rollout_judge import NO_ANSWER, checked
from worldeval.record import Episode

HELD = "held"


class RuleJudge:
    """Success once an expression is true at `held` frames in a row.

    It may use `p0`, `p1`, ... (columns of the pose, in the robot's units), `start_p0`, ... (their
    values at the start), `seconds`, `frame`, names given to columns (`height=2`), and names given
    to judges (`judge=runs/judge`): the judge's probability of success by that frame, and
    `start_judge`. It abstains where one of its judges does.
    """

    def __init__(
        self,
        text: str,
        params: Mapping[str, Any],
        *,
        columns: int,
        judges: Mapping[str, FrameJudge] | None = None,
    ) -> None:
        """Parse a rule.

        Args:
            params: `held` (frames, default 1), and further names with the number of a pose column
                or the address of a judge.
            columns: number of pose columns.
            judges: of frames, by their names; needed by `judge` alone.

        Raises:
            UserError: the rule names something unknown, or a parameter is invalid.
        """
        held = params.get(HELD, 1)
        if type(held) is not int or held < 1:
            raise UserError(f"The rule's held={held} must be a number of frames, 1 or more.")
        self._held, self._judges = held, judges or {}
        self._names = {f"p{column}": column for column in range(columns)}
        seen = []
        for name, value in params.items():
            if name == HELD:
                continue
            column = type(value) is int and 0 <= value < columns
            if not name.isidentifier() or not (column or isinstance(value, str)):
                raise UserError(
                    f"The rule's parameter {name}={value} must be a name and the number of a "
                    f"pose column, 0 to {columns - 1}, or the address of a judge."
                )
            if isinstance(value, str):
                seen.append(name)
            else:
                self._names[name] = value
        named = [*self._names, *seen]
        known = [*named, *(f"start_{name}" for name in named), "seconds", "frame"]
        self._rule = Expression(text, known, what="the rule")
        self.looks = any(map(looks, self._judges.values()))
        self.name = f"rule {text}"
        versions = sorted((name, one.name, one.version) for name, one in self._judges.items())
        self.version = f"{sorted(params.items())}{versions or ''}"

    def judge(self, episodes: Sequence[Episode]) -> list[Appraisal]:
        """Return 1 or 0 for every episode and frame. The first frame, the start, never counts."""
        said = {
            name: [
                checked(answer, frames=len(episode), judge=judge.name)
                for episode, answer in zip(episodes, judge.judge(episodes), strict=True)
            ]
            for name, judge in self._judges.items()
        }
        return [
            self._one(episode, {name: answers[row] for name, answers in said.items()})
            for row, episode in enumerate(episodes)
        ]

    def _one(self, episode: Episode, said: Mapping[str, Appraisal]) -> Appraisal:
        seen: dict[str, Array] = {}
        for name, answer in said.items():
            if answer.probability is None:
                return Appraisal(probability=None, reason=f"{name}: {answer.reason or NO_ANSWER}")
            whole = np.full(len(episode), answer.probability)
            seen[name] = whole if answer.by_frame is None else answer.by_frame
        by_frame = self.by_frame(episode.pose, episode.fps, seen)
        return Appraisal(
            probability=float(by_frame[-1]),
            by_frame=by_frame,
            tokens=sum(answer.tokens for answer in said.values()),
            seconds=sum(answer.seconds for answer in said.values()),
        )

    def by_frame(
        self, pose: Float[Array, "t p"], fps: float, seen: Mapping[str, Float[Array, " t"]]
    ) -> Float[Array, " t"]:
        """Return 1 from the frame on at which the rule has held long enough, and 0 before.

        Args:
            seen: what the named judges say of every frame.
        """
        tracks = {**{name: pose[:, column] for name, column in self._names.items()}, **seen}
        start = {f"start_{name}": float(track[0]) for name, track in tracks.items()}
        true = [False]
        for frame in range(1, len(pose)):
            values = {name: float(track[frame]) for name, track in tracks.items()}
            time = {"frame": frame, "seconds": frame / fps}
            true.append(self._rule({**values, **start, **time}))
        return np.maximum.accumulate(_in_a_row(true, self._held)).astype(np.float32)


def _in_a_row(true: Sequence[bool], count: int) -> np.ndarray:
    """Mark frames at which the last `count` frames, this one included, are all true."""
    run, out = 0, np.zeros(len(true), bool)
    for frame, one in enumerate(true):
        run = run + 1 if one else 0
        out[frame] = run >= count
    return out
