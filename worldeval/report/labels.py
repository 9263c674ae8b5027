"""Names beside the points of a plot, placed so that none covers another or a point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text

from worldeval.axes import Array, Float

RADII = (7, 11, 16, 24, 34, 46, 60, 78, 100, 125)  # points from the marker
ANGLES = np.deg2rad(np.arange(0, 360, 20))
NEAR = 13  # points; a label further out gets a line to its marker
MARGIN = 1.5  # points kept free around everything


@dataclass(frozen=True, kw_only=True)
class _Box:
    left: float
    bottom: float
    right: float
    top: float

    @property
    def middle(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def overlaps(self, other: "_Box") -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def holds(self, other: "_Box") -> bool:
        return (
            self.left <= other.left
            and self.bottom <= other.bottom
            and self.right >= other.right
            and self.top >= other.top
        )


def place_labels(
    axes: Axes,
    x: Float[Array, " n"],
    y: Float[Array, " n"],
    names: Sequence[str],
    *,
    bars: Sequence[tuple[float, float, float, float]] = (),
    size: float = 7.5,
    colour: str = "black",
) -> list[Annotation]:
    """Write each name near its point; a name that finds no free place is left out.

    Args:
        bars: segments (x0, y0, x1, y1) in data units that labels should rather not cross.
        size: of the text, in points.

    The limits and the size of the figure must be final.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    unit = figure.dpi / 72  # pixels in a point
    frame = axes.get_window_extent(renderer)
    inside = _Box(left=frame.x0, bottom=frame.y0, right=frame.x1, top=frame.y1)
    centres = axes.transData.transform(np.column_stack([x, y]))
    taken = [_around(cx, cy, 4 * unit, 4 * unit) for cx, cy in centres]
    lines = [axes.transData.transform(np.reshape(bar, (2, 2))) for bar in bars]
    placed, leaders = [], np.empty((0, 2))
    # The most crowded points choose first: they have the fewest places to go.
    gaps = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1))
    for i in np.argsort(np.sort(gaps, axis=1)[:, : min(4, len(x))].sum(axis=1)):
        name = str(names[i])
        wide, tall = _extent(axes, name, size, renderer)
        size_px = (wide + 2 * MARGIN * unit, tall + 2 * MARGIN * unit)
        box, radius = _free_place(centres[i], size_px, unit, inside, taken, lines, leaders)
        if box is None:
            continue
        taken.append(box)
        middle = box.middle
        if radius > NEAR:
            leaders = np.vstack([leaders, _between(centres[i], middle)])
        line = dict(arrowstyle="-", color=colour, alpha=0.45, lw=0.6, shrinkA=0, shrinkB=3)
        placed.append(
            axes.annotate(
                name,
                (x[i], y[i]),
                xytext=tuple(axes.transData.inverted().transform(middle)),
                textcoords="data",
                fontsize=size,
                color=colour,
                ha="center",
                va="center",
                arrowprops=line if radius > NEAR else None,
            )
        )
    return placed


def _free_place(
    centre: Float[Array, "2"],
    size: tuple[float, float],
    unit: float,
    inside: _Box,
    taken: Sequence[_Box],
    lines: Sequence[Float[Array, "2 2"]],
    leaders: Float[Array, "m 2"],
) -> tuple[_Box | None, float]:
    """The cheapest free box around a point and its distance: near, off bars and leader lines."""
    best, found, at = np.inf, None, 0.0
    for radius in RADII:
        if radius >= best:  # nothing further out can be cheaper
            break
        for angle in ANGLES:
            across, up = np.cos(angle), np.sin(angle)
            # The label's near edge, not its middle, is `radius` away.
            cx = centre[0] + radius * unit * across + size[0] / 2 * across
            cy = centre[1] + radius * unit * up + size[1] / 2 * up
            box = _around(cx, cy, size[0] / 2, size[1] / 2)
            if not inside.holds(box) or any(box.overlaps(other) for other in taken):
                continue
            cost = radius + 9 * sum(_crosses(box, line) for line in lines)
            cost += 25 * _holds_any(box, leaders)
            if radius > NEAR:
                way = _between(centre, box.middle)
                cost += 25 * sum(_holds_any(other, way) for other in taken)
            if cost < best:
                best, found, at = cost, box, float(radius)
    return found, at


def _around(x: float, y: float, half_width: float, half_height: float) -> _Box:
    return _Box(
        left=float(x - half_width),
        bottom=float(y - half_height),
        right=float(x + half_width),
        top=float(y + half_height),
    )


def _between(start: Float[Array, "2"], end: tuple[float, float]) -> Float[Array, "m 2"]:
    """Points along a leader line, its ends left out: they lie in boxes by intention."""
    return start + np.linspace(0.1, 0.8, 24)[:, None] * (np.array(end) - start)


def _holds_any(box: _Box, points: Float[Array, "m 2"]) -> bool:
    x, y = points[:, 0], points[:, 1]
    held = (x > box.left) & (x < box.right) & (y > box.bottom) & (y < box.top)
    return bool(held.any())


def _crosses(box: _Box, line: Float[Array, "2 2"]) -> bool:
    """Whether a horizontal or vertical segment meets the box."""
    (x0, y0), (x1, y1) = np.sort(line, axis=0)
    return x0 < box.right and x1 > box.left and y0 < box.top and y1 > box.bottom


def _extent(axes: Axes, text: str, size: float, renderer: object) -> tuple[float, float]:
    probe = Text(0, 0, text, fontsize=size, figure=axes.get_figure(root=True))
    extent = probe.get_window_extent(renderer)  # pyright: ignore[reportArgumentType]
    return extent.width, extent.height
