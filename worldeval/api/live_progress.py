"""Evaluation progress on stderr: a live table, plain lines, or lines of JSON."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from worldeval.report.short_names import short_names

if TYPE_CHECKING:
    from worldeval.evaluate.run import Watcher
    from worldeval.evaluate.workers.jobs import Result

EVERY = 10.0  # seconds between lines if there is no table
NAME = 40  # characters of a policy's name in the table
WIDE = 72  # columns of a terminal that shows the time of an episode too


class LiveProgress:
    """Context manager that shows progress.

    It shows a table on a terminal and occasional lines elsewhere. With `as_json`, it prints one
    JSON object per line, whose `event` is `start`, `batch`, `failed`, `truth` or `stage`. No
    interval is shown before the end: the ranking's is that of the true rate, which a few finished
    episodes cannot give.
    """

    def __init__(self, log: Console, *, as_json: bool = False) -> None:
        self._log, self._as_json = log, as_json
        live = log.is_terminal and not as_json
        self._live = Live(console=log, auto_refresh=False) if live else None
        self._scores: dict[str, list[float]] = {}
        self._seconds: dict[str, list[float]] = {}  # every batch of this command, per policy
        self._fresh: dict[str, int] = {}  # episodes of this command, per policy
        self._failed: dict[str, int] = {}
        self._wanted = 0
        self._begin = self._said = monotonic()
        self._stage = _Stage(name="", begin=self._begin, first=0)
        self._note = ""

    def __enter__(self) -> "LiveProgress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def imagining(self, done: Mapping[str, Sequence[float]], episodes: int) -> None:
        """Begin, given each policy's finished probabilities and maximum number of episodes."""
        self._scores = {policy: list(scores) for policy, scores in done.items()}
        self._seconds = {policy: [] for policy in done}
        self._fresh, self._failed = dict.fromkeys(done, 0), dict.fromkeys(done, 0)
        self._wanted, self._begin = episodes, monotonic()
        self._said = self._begin - EVERY
        self._event("start", done=self._done(), wanted=self._all())

    def imagined(self, batch: "Result") -> None:
        """Report a batch that was judged or could not be completed."""
        from worldeval.evaluate.workers.jobs import BatchFailed

        policy, count = batch.job.policy, len(batch.job.starts)
        if isinstance(batch, BatchFailed):
            self._failed[policy] += count
            self._event("failed", policy=policy, episodes=count, error=batch.error)
            self._show(f"{policy}: {count} episodes have no outcome: {batch.error}", plain=True)
            return
        self._scores[policy].extend(batch.probabilities)
        self._seconds[policy].append(batch.seconds)
        self._fresh[policy] += count
        done, fresh = self._done(), sum(self._fresh.values())
        left = (monotonic() - self._begin) / fresh * (self._all() - done)
        each = sum(map(sum, self._seconds.values())) / fresh
        self._event(
            "batch",
            policy=policy,
            episodes=count,
            policy_done=len(self._scores[policy]),
            success=fmean(self._scores[policy]),
            done=done,
            wanted=self._all(),
            seconds_per_episode=each,
            seconds_left=left,
        )
        self._show(
            f"imagined {done}/{self._all()} episodes, {each:.3f} CPU-s each, {left:.0f} s left",
            plain=self._due(last=done == self._all()),
        )

    def simulating(self, done: int, total: int) -> None:
        """Report the number of finished simulator episodes; first with the number at the start."""
        left = self._left("simulated", done, total)
        self._event("truth", done=done, wanted=total, seconds_left=left)
        self._count("simulated", done, total, " episodes", left)

    def counting(self, what: str, done: int, total: int) -> None:
        """Report how much of a stage is done; first with the number at its start."""
        left = self._left(what, done, total)
        self._event("stage", text=what, done=done, wanted=total, seconds_left=left)
        self._count(what, done, total, "", left)

    def say(self, text: str) -> None:
        """Report a stage that has no count."""
        self._event("stage", text=text)
        self._show(text, plain=True)

    def _count(self, what: str, done: int, total: int, unit: str, left: float | None) -> None:
        rest = "" if left is None else f", {left:.0f} s left"
        first = done == self._stage.first
        self._show(
            f"{what} {done}/{total}{unit}{rest}", plain=self._due(last=first or done == total)
        )

    def _left(self, what: str, done: int, total: int) -> float | None:
        """Return the seconds left of a stage; None at its start, which is noted."""
        now = monotonic()
        if self._stage.name != what or done <= self._stage.first:
            self._stage = _Stage(name=what, begin=now, first=done)
            return None
        return (now - self._stage.begin) / (done - self._stage.first) * (total - done)

    def _due(self, *, last: bool) -> bool:
        """Return whether a plain line should be printed now."""
        now = monotonic()
        due = last or now - self._said >= EVERY
        self._said = now if due else self._said
        return due

    def _done(self) -> int:
        return sum(len(scores) for scores in self._scores.values())

    def _all(self) -> int:
        return self._wanted * len(self._scores)

    def _event(self, event: str, **facts: Any) -> None:
        if self._as_json:
            self._log.file.write(json.dumps({"event": event, **facts}) + "\n")
            self._log.file.flush()

    def _show(self, note: str, *, plain: bool) -> None:
        self._note = note
        if self._live:
            self._live.update(self._table(), refresh=True)
        elif plain and not self._as_json:
            self._log.print(note)

    def _table(self) -> Group:
        timed = self._log.width >= WIDE
        further = ("done", "predicted", "no outcome", "s/episode")[: 4 if timed else 3]
        table = Table(box=None)
        table.add_column("policy", overflow="fold")
        for column in further:
            table.add_column(column, justify="right", no_wrap=True)
        room = self._log.width - sum(len(column) + 2 for column in further) - 2
        short = short_names(list(self._scores), min(NAME, room)) or {}
        for policy, scores in self._scores.items():
            row = [f"{len(scores)}/{self._wanted}", "", str(self._failed[policy] or ""), ""]
            if scores:
                row[1] = f"{fmean(scores):.3f}"
            if self._fresh[policy]:
                row[3] = f"{sum(self._seconds[policy]) / self._fresh[policy]:.3f}"
            table.add_row(short.get(policy, policy), *row[: len(further)])
        return Group(table, Text(self._note, style="bold"))


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """The stage that is being counted."""

    name: str
    begin: float  # seconds, when it began
    first: int  # number that was done then


@contextmanager
def shown(progress: "bool | Watcher") -> "Iterator[Watcher]":
    """Yield the display of a function's `progress`: a new one, one that is silent, or its own."""
    if not isinstance(progress, bool):
        yield progress
    elif progress:
        with LiveProgress(Console(stderr=True, markup=False)) as display:
            yield display
    else:
        with open(os.devnull, "w") as nowhere, LiveProgress(Console(file=nowhere)) as display:
            yield display
