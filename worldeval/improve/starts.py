"""Starts of improvement: recorded frames alone, split so that what is compared was never used."""

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

    training: tuple[Start, ...]  # what policies improve on
    check: tuple[Start, ...]  # what rounds and iterations are watched on
    held_out: tuple[Start, ...]  # what the result is compared on, once

    def later(self, starts: Sequence[Start]) -> "Starts":
        """The same sets with other frames of the same recordings to improve on."""
        own = {_recording(start) for start in self.training}
        return replace(self, training=tuple(one for one in starts if _recording(one) in own))

    def draw(self, per_task: int, rng: np.random.Generator) -> list[Start]:
        """Training starts of every task, repeated only where there are too few."""
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
    """One start of every recorded episode: a frame between `begin_at`, both included.

    Later frames are starts that recorded behaviour has perturbed: the hand is elsewhere, and the
    object may have moved. Frames from the recording's first success on are not drawn.
    """
    starts = []
    for task in tasks:
        rows = recorded.episodes[recorded.episodes["task"] == task]
        if rows.empty:
            raise UserError(f"The data hold no episode of '{task}' to start from.")
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
    """Split starts by the hash of their names: whatever else is drawn, a start stays in its set.

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
                f"There are {len(own)} starts of '{task}', and {held_out} are held out and {check} "
                "watched: none is left to improve on. Give more data, or lower held_out and check."
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
