"""Starts for improvement: recorded frames, split so that the comparison uses unseen ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.record import Start


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Three sets of starts that share no recorded episode."""

    training: tuple[Start, ...]  # for improving policies
    check: tuple[Start, ...]  # for monitoring rounds and iterations
    held_out: tuple[Start, ...]  # for the final comparison, once

    def later(self, starts: Sequence[Start]) -> "Starts":
        """Return the same sets with other frames of the training recordings."""
        own = {_recording(start) for start in self.training}
        return replace(self, training=tuple(one for one in starts if _recording(one) in own))

    def draw(self, per_task: int, rng: np.random.Generator) -> list[Start]:
        """Draw training starts of every task; they repeat only if there are too few."""
        drawn: list[Start] = []
        for task in dict.fromkeys(start.task for start in self.training):
            own = [start for start in self.training if start.task == task]
            order = np.concatenate(
                [rng.permutation(len(own)) for _ in range(-(-per_task // len(own)))]
            )
            drawn += [own[index] for index in order[:per_task]]
        return drawn


def recorded_starts(
    recorded: RecordedEpisodes,
    tasks: Sequence[str],
    rng: np.random.Generator,
    *,
    begin_at: tuple[int, int] = (0, 0),
) -> list[Start]:
    """Draw one start per recorded episode: a frame between `begin_at`, both included.

    Later frames are starts perturbed by the recorded behaviour: the gripper is elsewhere, and the
    object may have moved. Frames at or after the recording's first success are not drawn.
    """
    starts = []
    for task in tasks:
        rows = recorded.episodes[recorded.episodes["task"] == task]
        if rows.empty:
            raise UserError(f"The dataset has no episode of '{task}' to start from.")
        for index, row in rows.iterrows():
            span = recorded.rows(int(str(index)))
            done = np.flatnonzero(recorded.flags[span])[:1]
            last = int(done[0]) - 1 if len(done) else span.stop - span.start - 2
            first = min(begin_at[0], max(last, 0))
            frame = int(rng.integers(first, max(min(begin_at[1], last), first) + 1))
            starts.append(
                _start(recorded, span.start + frame, str(row["id"]), task, frame, int(str(index)))
            )
    return starts


def divide(starts: Sequence[Start], *, check: int, held_out: int, tasks: Sequence[str]) -> Starts:
    """Split starts by the hash of their names, so that a start always stays in its set.

    Raises:
        UserError: a task has too few starts for the three sets.
    """
    training: list[Start] = []
    watched: list[Start] = []
    kept: list[Start] = []
    for task in tasks:
        own = sorted(
            (start for start in starts if start.task == task),
            key=lambda start: crc32(_recording(start).encode()),
        )
        if len(own) <= check + held_out:
            raise UserError(
                f"There are {len(own)} starts of '{task}', but {held_out} are held out and {check} "
                "monitored, so none is left for training. Give more data, or lower held_out and "
                "check."
            )
        kept += own[:held_out]
        watched += own[held_out : held_out + check]
        training += own[held_out + check :]
    return Starts(training=tuple(training), check=tuple(watched), held_out=tuple(kept))


def _recording(start: Start) -> str:
    return start.id.split("@")[0]


def _start(
    recorded: RecordedEpisodes, row: int, name: str, task: str, frame: int, episode: int
) -> Start:
    at = np.array([row])
    return Start(
        id=f"{name}@{frame}",
        task=task,
        seed=episode,
        frames={view: recorded.frames(view, at)[0] for view in recorded.views},
        pose=recorded.pose[row].astype(np.float32),
    )
