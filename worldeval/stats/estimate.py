"""A number with its uncertainty: the only way in which numbers about policies are handed on."""

from dataclasses import asdict, dataclass
from math import isnan
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and its interval.

    `value`, `low` and `high` are None, never NaN, where the quantity is undefined (a correlation
    of constants) or nothing is known of its interval. An interval may be known where the value
    is not: a rate of no trials is somewhere in [0, 1]. The rest is None where a file kept the
    numbers alone.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    level: float | None = None  # coverage that `method` promises
    n: int | None = None  # trials (or policies, for a measure over policies)
    clusters: int | None = None  # initial states behind the n trials
    method: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None:
                number = float(number)
                object.__setattr__(self, name, None if isnan(number) else number)

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None

    @property
    def width(self) -> float | None:
        """Length of the interval."""
        return None if self.low is None or self.high is None else self.high - self.low

    def to_json(self) -> dict[str, float | None]:
        """`value`, `low` and `high` alone: the form of a summary."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def record(self) -> dict[str, Any]:
        """Everything, with n and method."""
        return asdict(self)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return "undefined" if self.value is None else f"{self.value:.3f}"
        value = "?" if self.value is None else f"{self.value:.3f}"
        return f"{value} [{self.low:.3f}, {self.high:.3f}]"


def undefined(*, level: float, n: int, clusters: int, method: str) -> Estimate:
    """A quantity that these data do not define."""
    return Estimate(value=None, level=level, n=n, clusters=clusters, method=method)
