"""The figures of a report: predicted against measured success, overall and by task."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldeval.report.annotate import place_labels
from worldeval.report.compared import SOMEHOW, Compared
from worldeval.report.theme import LIGHT, PAGE, Theme
from worldeval.stats import Estimate

DPI = 160
NARROW = 3.7  # inches: the text of a phone, at 96 pixels in an inch
CROWD = 40  # points above which names would fill the plot
LIMITS = (-0.03, 1.03)
BAR: dict[str, Any] = {"lw": 1, "alpha": 0.4, "zorder": 2}
TICKS = np.linspace(0, 1, 6)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A policy's predicted and measured success rate."""

    name: str
    predicted: Estimate
    real: Estimate


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel of the small multiples."""

    title: str
    points: tuple[Point, ...]


def predicted_against_real(
    points: Sequence[Point],
    *,
    theme: Theme = LIGHT,
    words: Compared = SOMEHOW,
    narrow: bool = False,
) -> Figure:
    """Draw a labelled scatter plot of all policies with both intervals and the line y = x.

    A narrow figure, for a phone, labels the policies with their place among `points`.
    """
    with styled(theme):
        size = (NARROW, NARROW) if narrow else (6.6, 6.2)
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        bars = _scatter(axes, points, theme, size=18 if narrow else 30)
        axes.set_xlabel("predicted success rate", color=theme.imagined)
        axes.set_ylabel(f"{words.adjective} success rate", color=theme.real)
        figure.draw_without_rendering()  # the layout must be final before labels are placed
        places = enumerate(points, start=1)
        known = [(k, point) for k, point in places if point.predicted.known and point.real.known]
        if len(known) <= CROWD:
            place_labels(
                axes,
                np.array([point.predicted.value for _, point in known], float),
                np.array([point.real.value for _, point in known], float),
                [str(place) if narrow else point.name for place, point in known],
                bars=bars,
                colour=theme.ink,
                halo="" if theme is PAGE else theme.paper,
            )
        figure.set_layout_engine("none")  # names would pull the axes about
    return figure


def small_multiples(
    panels: Sequence[Panel],
    *,
    theme: Theme = LIGHT,
    words: Compared = SOMEHOW,
    narrow: bool = False,
) -> Figure:
    """Draw the same without labels, one panel per task with shared axes."""
    columns = min(2 if narrow else 3, max(1, len(panels)))
    lines = ceil(len(panels) / columns)
    with styled(theme):
        side = (NARROW - 0.4) / 2 if narrow else 3.0
        size = (side * columns + 0.4, (side + 0.1) * lines + 0.35)
        figure = Figure(figsize=size, dpi=DPI, layout="compressed")
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(panels):
                axes.set_axis_off()
                continue
            _scatter(axes, panels[place].points, theme, size=14)
            axes.set_title(panels[place].title, fontsize=7 if narrow else 8.5)
            # Below the last panel of a column there may be an empty place.
            axes.tick_params(labelbottom=place + columns >= len(panels))
        figure.supxlabel("predicted", fontsize=8.5, color=theme.imagined)
        figure.supylabel(words.adjective, fontsize=8.5, color=theme.real)
    return figure


def figure_png(figure: Figure) -> bytes:
    """Render a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=figure.get_facecolor())
    return buffer.getvalue()


def _scatter(
    axes: Axes, points: Sequence[Point], theme: Theme, *, size: float
) -> list[tuple[float, float, float, float]]:
    """Draw points, error bars and the line y = x; return the bars as segments."""
    axes.set(xlim=LIMITS, ylim=LIMITS, xticks=TICKS, yticks=TICKS, aspect="equal")
    axes.plot([0, 1], [0, 1], color=theme.faint, lw=1, ls=(0, (5, 4)), zorder=1)
    bars: list[tuple[float, float, float, float]] = []
    for point in points:
        x, y = point.predicted, point.real
        if x.value is None or y.value is None:
            continue
        if x.low is not None and x.high is not None:
            bars.append((x.low, y.value, x.high, y.value))
            axes.plot([x.low, x.high], [y.value] * 2, color=theme.imagined, **BAR)
        if y.low is not None and y.high is not None:
            bars.append((x.value, y.low, x.value, y.high))
            axes.plot([x.value] * 2, [y.low, y.high], color=theme.real, **BAR)
        dot: dict[str, Any] = {"color": theme.ink, "edgecolors": theme.paper, "lw": 0.7}
        axes.scatter(x.value, y.value, s=size, zorder=3, **dot)
    return bars


@contextmanager
def styled(theme: Theme) -> Iterator[None]:
    """Draw in the colours of a theme."""
    style: Any = {
        "figure.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "axes.edgecolor": theme.grid,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.7,
        "text.color": theme.ink,
        "xtick.color": theme.faint,
        "ytick.color": theme.faint,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "axes.labelsize": 9.5,
        "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture everywhere
        "text.parse_math": False,  # a policy may have a $ in its name
    }
    with mpl.rc_context(style):
        yield
