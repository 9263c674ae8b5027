"""Numbers as a reader meets them."""

from worldeval.stats import Estimate

NONE = "–"  # noqa: RUF001


def shown(estimate: Estimate | None) -> str:
    """`0.63 [0.41, 0.88]`; a dash where there is no value."""
    if estimate is None:
        return NONE
    return f"{short(estimate.value)} {interval(estimate)}".strip()


def interval(estimate: Estimate | None) -> str:
    """`[0.41, 0.88]`, or nothing."""
    if estimate is None or not estimate.has_interval:
        return ""
    return f"[{short(estimate.low)}, {short(estimate.high)}]"


def short(value: float | None) -> str:
    """Two decimals, as a rate or a correlation is read; a dash where there is none."""
    if value is None:
        return NONE
    # -0.00 is a rounding error to a reader.
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def seconds(value: float | None) -> str:
    """`0.08 s`, `42 s`, `7 min`, `2 h 05 min`."""
    if value is None:
        return NONE
    if value < 10:
        return f"{value:.2g} s"
    if value < 100:
        return f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
