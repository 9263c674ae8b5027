"""Evaluation progress on stderr: a live table, plain lines, or lines of JSON."""

import json
from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, pstdev
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from worldeval.evaluate.workers.jobs import Result

EVERY = 10.0  # seconds between lines if there is no table


class LiveProgress:
    """Context manager that shows progress.

    It shows a table on a terminal and occasional lines elsewhere. With `as_json`, it prints one
    JSON object per line, whose `event` is `start`, `batch`, `failed`, `truth` or `stage`.
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
        mean, low, high = _running(self._scores[policy])
        self._event(
            "batch",
            policy=policy,
            episodes=count,
            policy_done=len(self._scores[policy]),
            success=mean,
            low=low,
            high=high,
            done=done,
            wanted=self._all(),
            seconds_per_episode=each,
            seconds_left=left,
        )
        now = monotonic()
        plain = done == self._all() or now - self._said >= EVERY
        if plain:
            self._said = now
        self._show(
            f"imagined {done}/{self._all()} episodes, {each:.3f} CPU-s each, {left:.0f} s left",
            plain=plain,
        )

    def simulating(self, done: int, total: int) -> None:
        """Report the number of finished simulator episodes."""
        self._event("truth", done=done, wanted=total)
        self._show(f"simulated {done}/{total} episodes", plain=True)

    def say(self, text: str) -> None:
        """Report a stage that has no count."""
        self._event("stage", text=text)
        self._show(text, plain=True)

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
        table = Table(box=None)
        table.add_column("policy")
        for column in ("done", "predicted success", "95%", "s/episode", "no outcome"):
            table.add_column(column, justify="right")
        for policy, scores in self._scores.items():
            row = [f"{len(scores)}/{self._wanted}", "", "", "", str(self._failed[policy] or "")]
            if scores:
                mean, low, high = _running(scores)
                row[1:3] = f"{mean:.3f}", f"{low:.2f}-{high:.2f}"
            if self._fresh[policy]:
                row[3] = f"{sum(self._seconds[policy]) / self._fresh[policy]:.3f}"
            table.add_row(policy, *row)
        return Group(table, Text(self._note, style="bold"))


def _running(scores: Sequence[float]) -> tuple[float, float, float]:
    """Mean with a normal interval, for monitoring only and not for decisions."""
    mean = fmean(scores)
    half = 1.96 * pstdev(scores) / sqrt(len(scores))
    return mean, max(mean - half, 0.0), min(mean + half, 1.0)
