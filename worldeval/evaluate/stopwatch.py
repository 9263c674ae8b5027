"""The time that a stage of an evaluation takes."""

from collections.abc import Callable
from time import perf_counter


class Stopwatch:
    """Report the seconds that its `with` block took, also if the block fails."""

    def __init__(self, spend: Callable[[float], None]) -> None:
        self._spend, self._begin = spend, 0.0

    def __enter__(self) -> None:
        self._begin = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._spend(perf_counter() - self._begin)
