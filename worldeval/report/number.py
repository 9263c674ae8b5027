"""Format numbers for tables and reports."""

from worldeval.stats import Estimate

NONE = "–"  # noqa: RUF001


def shown(estimate: Estimate | None) -> str:
    """Format an estimate as `0.63 [0.41, 0.88]`, or as a dash without a value."""
    if estimate is None:
        return NONE
    return f"{short(estimate.value)} {interval(estimate)}".strip()


def interval(estimate: Estimate | None) -> str:
    """Format the interval as `[0.41, 0.88]`, or as an empty text without one."""
    if estimate is None or not estimate.has_interval:
        return ""
    return f"[{short(estimate.low)}, {short(estimate.high)}]"


def short(value: float | None) -> str:
    """Format a rate or correlation with two decimals, or as a dash without a value."""
    if value is None:
        return NONE
    # Adding 0.0 turns -0.00 into 0.00.
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def seconds(value: float | None) -> str:
    """Format a duration: `0.08 s`, `42 s`, `7 min`, `2 h 05 min`."""
    if value is None:
        return NONE
    if value < 10:
        return f"{value:.2g} s"
    if value < 100:
        return f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
