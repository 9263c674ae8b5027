"""Training progress on stderr: bars on a terminal, and occasional lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 30.0  # seconds between lines

Report = Callable[..., Callable[[int, float], None]]


@contextmanager
def training_stages(log: Console, *, lines: bool = False) -> Iterator[Report]:
    """Yield `report(stage, steps=None)`, which returns a function of step and smoothed loss.

    `lines` requests plain lines on a terminal too, since several processes cannot share bars.
    """
    if lines or not log.is_terminal:
        yield lambda stage, steps=None: _lines(log, stage, steps)
        return
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TextColumn("step {task.completed:>6.0f}  loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=log) as bars:

        def report(stage: str, steps: int | None = None) -> Callable[[int, float], None]:
            task = bars.add_task(stage, total=steps, loss=0.0)
            return lambda step, loss: bars.update(task, completed=step, loss=loss)

        yield report


def _lines(log: Console, stage: str, steps: int | None) -> Callable[[int, float], None]:
    begin = last = monotonic()

    def show(step: int, loss: float) -> None:
        nonlocal last
        if step == 0 or monotonic() - last >= EVERY:
            last = monotonic()
            of = f"/{steps}" if steps else ""
            log.print(f"{stage}: step {step}{of}, loss {loss:.4f}, {last - begin:.0f} s")

    return show
