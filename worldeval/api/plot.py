# pandas types a cell as anything that a table can hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false
"""Figure of a ranking: every policy with its interval, next to its measured success."""

from io import BytesIO
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PREDICTED, MEASURED = "#0072b2", "#d55e00"


class Chart(Figure):
    """A figure that a notebook displays even if pyplot was not imported."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png", dpi=110)
        return stream.getvalue()


def plot_policies(policies: pd.DataFrame, *, headline: str | None) -> Figure:
    """Plot predicted success with its interval, and measured success; a row per policy, best first.

    Args:
        policies: as `Result.policies`.
        headline: caveat to show above the figure, if any.
    """
    # The object-oriented interface leaves no global state behind and needs no display.
    figure = Chart(figsize=(7.5, 1.6 + 0.32 * len(policies)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rows = range(len(policies))
    _points(axes, policies, rows, ("predicted", "low", "high"), PREDICTED, "predicted", "o", 0.0)
    if "measured" in policies:
        columns = ("measured", "measured_low", "measured_high")
        _points(axes, policies, rows, columns, MEASURED, "measured", "s", 0.22)
        axes.legend(loc="lower right", fontsize=8)
    axes.set_yticks(list(rows), [str(name) for name in policies["policy"]], fontsize=8)
    axes.set_ylim(len(policies) - 0.5, -0.5)
    axes.set(xlim=(-0.02, 1.02), xlabel="success rate, with its interval")
    axes.grid(axis="x", alpha=0.3)
    if headline:
        # No mathtext, because a policy's name may contain a dollar sign.
        axes.set_title(
            fill(headline, 95), fontsize=8, color="#b3261e", loc="left", parse_math=False
        )
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    return figure


def _points(
    axes: Any,
    policies: pd.DataFrame,
    rows: range,
    columns: tuple[str, str, str],
    colour: str,
    label: str,
    mark: str,
    below: float,
) -> None:
    for row, (_, found) in zip(rows, policies.iterrows(), strict=True):
        value = found[columns[0]]
        ends = [found.get(name) for name in columns[1:]]
        if pd.isna(value):
            continue
        bars = None if any(pd.isna(end) for end in ends) else [[value - ends[0]], [ends[1] - value]]
        axes.errorbar(
            [value], [row + below], xerr=bars, fmt=mark, color=colour, ms=4, lw=1,
            label=label if row == 0 else None,
        )  # fmt: skip
