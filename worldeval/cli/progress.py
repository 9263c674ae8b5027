"""Progress on stderr: bars for training stages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def training_stages(log: Console) -> Iterator[Callable[[str], Callable[[int, float], None]]]:
    """Gives `report(stage)`; what it returns takes a step and the smoothed loss."""
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TextColumn("step {task.completed:>6.0f}  loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=log) as bars:

        def report(stage: str) -> Callable[[int, float], None]:
            task = bars.add_task(stage, total=None, loss=0.0)
            return lambda step, loss: bars.update(task, completed=step, loss=loss)

        yield report
