"""An estimate with its uncertainty: the form in which all numbers about policies are passed on."""

from dataclasses import asdict, dataclass
from math import isnan
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its interval.

    `value`, `low` and `high` are None, never NaN, if the quantity is undefined (such as a
    correlation with a constant) or its interval is unknown. An interval may be known without a
    value: the rate of zero trials lies in [0, 1]. The other fields are None if the file that the
    estimate was read from holds only the numbers.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    level: float | None = None  # nominal coverage of `method`
    n: int | None = None  # trials (or policies, for a measure over policies)
    clusters: int | None = None  # distinct initial states among the n trials
    method: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None:
                number = float(number)
                object.__setattr__(self, name, None if isnan(number) else number)

    @property
    def known(self) -> bool:
        """Whether the value is known."""
        return self.value is not None

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return self.low is not None and self.high is not None

    @property
    def width(self) -> float | None:
        """Length of the interval."""
        return None if self.low is None or self.high is None else self.high - self.low

    def to_json(self) -> dict[str, float | None]:
        """Return `value`, `low` and `high` only, as a summary holds them."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def record(self) -> dict[str, Any]:
        """Return all fields, including n and method."""
        return asdict(self)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return "undefined" if self.value is None else f"{self.value:.3f}"
        value = "?" if self.value is None else f"{self.value:.3f}"
        return f"{value} [{self.low:.3f}, {self.high:.3f}]"


def undefined(*, level: float, n: int, clusters: int, method: str) -> Estimate:
    """Create the estimate of a quantity that these data do not define."""
    return Estimate(value=None, level=level, n=n, clusters=clusters, method=method)
