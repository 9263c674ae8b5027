"""The live table of an evaluation on stderr: policy, done, running success, time left."""

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from worldeval.evaluate.imagined import BatchDone


class Watch:
    """A context that shows progress; plain lines where stderr is not a terminal."""

    def __init__(self, log: Console) -> None:
        self._log = log
        self._live = Live(console=log, auto_refresh=False) if log.is_terminal else None
        self._scores: dict[str, list[float]] = {}
        self._wanted = 0
        self._begin = monotonic()
        self._note = ""
        self._seconds = 0.0

    def __enter__(self) -> "Watch":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def imagining(self, policies: Sequence[str], episodes: int) -> None:
        """Begin: these policies, so many episodes each."""
        self._scores = {policy: [] for policy in policies}
        self._wanted, self._begin = episodes, monotonic()

    def imagined(self, batch: "BatchDone") -> None:
        """A batch is judged."""
        self._scores[batch.policy].extend(batch.probabilities)
        self._seconds += batch.seconds
        done, wanted = self._done(), self._wanted * len(self._scores)
        left = (monotonic() - self._begin) / done * (wanted - done)
        each = self._seconds / done
        self._show(
            f"imagined {done}/{wanted} episodes, {each:.3f} CPU-s each, {left:.0f} s left",
            plain=done == wanted or done % 1000 < len(batch.probabilities),
        )

    def simulating(self, done: int, total: int) -> None:
        """Episodes of the simulator."""
        self._show(f"simulated {done}/{total} episodes", plain=True)

    def say(self, text: str) -> None:
        """A stage without a count."""
        self._show(text, plain=True)

    def _done(self) -> int:
        return sum(len(scores) for scores in self._scores.values())

    def _show(self, note: str, *, plain: bool) -> None:
        self._note = note
        if self._live:
            self._live.update(self._table(), refresh=True)
        elif plain:
            self._log.print(note)

    def _table(self) -> Group:
        table = Table(box=None)
        table.add_column("policy")
        for column in ("done", "predicted success", "± 95%"):
            table.add_column(column, justify="right")
        for policy, scores in self._scores.items():
            if scores:
                half = 1.96 * np.std(scores) / np.sqrt(len(scores))
                row = (f"{len(scores)}/{self._wanted}", f"{np.mean(scores):.3f}", f"{half:.3f}")
            else:
                row = (f"0/{self._wanted}", "", "")
            table.add_row(policy, *row)
        return Group(table, Text(self._note, style="bold"))
