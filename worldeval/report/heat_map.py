"""A heat map of policies and tasks: predicted rate, measured rate, and their difference.

Rates are in the colours of cividis; in the difference, orange is too optimistic and blue too
pessimistic (colour-blind-safe). A page shows it as tables, a figure draws it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from worldeval.axes import Array, Float
from worldeval.report.compared import Compared
from worldeval.report.figures import DPI, styled
from worldeval.report.number import NONE
from worldeval.report.short_names import short_names
from worldeval.report.table import TaskRow
from worldeval.report.theme import LIGHT, Theme

ROW, CELL = 0.2, (0.18, 0.48)  # inches of a policy, and the least and most of a task
READABLE = 0.3  # inches of a cell that can hold a number
WIDE = 9.6  # inches of a figure, if its cells can be as narrow
LETTER = 0.06  # inches of a letter of 7.5 points, about
NAME = 24  # letters of a policy's or a task's name
GAP, TITLE, MARGIN = 0.3, 0.24, 0.08  # inches
RATES, DIFFERENCE = "cividis", "PuOr_r"
MISSING = "#9a9a9a"


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """A cell: what it says, and its colours."""

    text: str
    fill: str  # '#rrggbb'
    ink: str


@dataclass(frozen=True, kw_only=True)
class HeatPart:
    """One of the three parts of a heat map."""

    title: str
    policies: tuple[str, ...]
    tasks: tuple[str, ...]
    values: Float[Array, "p t"]  # NaN: unknown
    signed: bool  # whether the values are differences

    def row(self, place: int) -> Iterator[HeatCell]:
        """Yield the cells of a policy."""
        for value in self.values[place]:
            yield self.cell(float(value))

    def cell(self, value: float) -> HeatCell:
        """Return the text and the colours of a value."""
        if np.isnan(value):
            return HeatCell(text=NONE, fill=MISSING, ink="#000000")
        scale = Normalize(-1 if self.signed else 0, 1)
        red, green, blue, _ = colour = colormaps[DIFFERENCE if self.signed else RATES](scale(value))
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        ink = "#000000" if bright else "#ffffff"
        return HeatCell(text=_text(value, self.signed), fill=to_hex(colour), ink=ink)


def heat_parts(
    tasks: Sequence[TaskRow], policies: Sequence[str], words: Compared
) -> tuple[HeatPart, ...]:
    """Arrange the rates of policies, best first, on tasks; measured ones only if there are any."""
    predicted = np.full((len(policies), len(tasks)), np.nan)
    real = predicted.copy()
    place = {name: row for row, name in enumerate(policies)}
    for column, task in enumerate(tasks):
        for cell in task.cells:
            for values, one in ((predicted, cell.predicted), (real, cell.truth)):
                if cell.policy in place and one is not None and one.value is not None:
                    values[place[cell.policy], column] = one.value
    found = [("predicted", predicted, False)]
    if np.isfinite(real).any():
        found += [(words.label, real, False), ("difference", predicted - real, True)]
    names, titles = tuple(policies), tuple(task.task for task in tasks)
    return tuple(
        HeatPart(title=title, policies=names, tasks=titles, values=values, signed=signed)
        for title, values, signed in found
    )


def heat_map(parts: Sequence[HeatPart], *, theme: Theme = LIGHT) -> Figure:
    """Draw the parts side by side, with the names of policies on the left and of tasks above."""
    policies, tasks = parts[0].policies, [_cut(task) for task in parts[0].tasks]
    short = short_names(policies, NAME) or {name: _cut(name) for name in policies}
    names = [short[name] for name in policies]
    left = LETTER * max(map(len, names)) + 2 * MARGIN
    top = LETTER * max(map(len, tasks)) + TITLE + 2 * MARGIN
    room = WIDE - left - MARGIN - GAP * (len(parts) - 1)
    cell = float(np.clip(room / (len(parts) * len(tasks)), *CELL))
    wide, tall = cell * len(tasks), ROW * len(policies)
    width = left + len(parts) * wide + (len(parts) - 1) * GAP + MARGIN
    height = top + tall + MARGIN
    with styled(theme):
        figure = Figure(figsize=(width, height), dpi=DPI)
        for place, part in enumerate(parts):
            x = left + place * (wide + GAP)
            box = (x / width, MARGIN / height, wide / width, tall / height)
            axes = figure.add_axes(box)
            _draw(axes, part, numbers=cell >= READABLE, theme=theme)
            axes.set_xticks(np.arange(len(tasks)) + 0.5, tasks, rotation=90)
            axes.set_yticks(np.arange(len(names)) + 0.5, [] if place else names, minor=False)
            figure.text(x / width, 1 - MARGIN / height, part.title, fontsize=9, va="top")
    return figure


def _draw(axes: Axes, part: HeatPart, *, numbers: bool, theme: Theme) -> None:
    """Draw coloured cells, from above to below, with their numbers."""
    lines, columns = part.values.shape
    axes.set(xlim=(0, columns), ylim=(lines, 0))
    axes.grid(visible=False)
    axes.tick_params(length=0, labelsize=7.5, pad=3, labeltop=True, labelbottom=False)
    axes.tick_params(colors=theme.ink)
    for side in axes.spines.values():
        side.set_visible(False)
    for line in range(lines):
        for column, cell in enumerate(part.row(line)):
            square = Rectangle((column, line), 1, 1, facecolor=cell.fill, edgecolor=theme.paper)
            axes.add_patch(square)
            if numbers:
                place = {"x": column + 0.5, "y": line + 0.52, "ha": "center", "va": "center"}
                axes.text(s=cell.text, color=cell.ink, fontsize=6.5, **place)


def _text(value: float, signed: bool) -> str:
    """Format a rate as `.63` or `1.0`, and a difference as `+.12`."""
    text = f"{value:+.2f}" if signed and abs(value) >= 0.005 else f"{abs(value):.2f}"
    text = text.replace("1.00", "1.0") if "1.00" in text else text.replace("0.", ".", 1)
    return text.replace("-", "\N{MINUS SIGN}")


def _cut(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"
