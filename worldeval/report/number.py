"""A number with its interval, as it stands in a run folder and as a reader meets it."""

from dataclasses import dataclass
from math import isfinite
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Number:
    """A value and its interval; each is None where it is undefined or was not written."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is anything to show."""
        return self.value is not None

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None

    def __str__(self) -> str:
        return f"{short(self.value)} {self.interval}".strip()

    @property
    def interval(self) -> str:
        """`[.41, .88]`, or nothing."""
        return f"[{short(self.low)}, {short(self.high)}]" if self.has_interval else ""


def number(raw: Any) -> Number | None:
    """What a summary holds (a number, or `value`, `low`, `high`) as a Number; None for anything
    else: a part that another version wrote otherwise is left out of a report."""
    if isinstance(raw, dict):
        if "value" not in raw:
            return None
        return Number(
            value=_real(raw["value"]), low=_real(raw.get("low")), high=_real(raw.get("high"))
        )
    value = _real(raw)
    return None if value is None else Number(value=value)


def short(value: float | None) -> str:
    """Two decimals, as a rate or a correlation is read; a dash where there is none."""
    if value is None:
        return "–"  # noqa: RUF001
    # -0.00 is a rounding error to a reader.
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def seconds(value: float | None) -> str:
    """`0.08 s`, `42 s`, `7 min`, `2 h 05 min`."""
    if value is None:
        return "–"  # noqa: RUF001
    if value < 10:
        return f"{value:.2g} s"
    if value < 100:
        return f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _real(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)
