# The library's stubs are narrower than what it takes and gives.
# pyright: reportReturnType=false
"""Label the points of a plot without overlapping labels or points."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text

from worldeval.axes import Array, Bool, Float

RADII = np.array([7, 11, 16, 24, 34, 46, 60, 78, 100, 125])  # points, marker to the near edge
ANGLES = np.deg2rad(np.arange(0, 360, 20))
NEAR = 13  # points; a label further out gets a line to its marker
MARGIN = 1.5  # points kept free around a label
MARKER = 4  # points kept free around a marker
# Cost of a position in points of distance: crossing an error bar is cheap, a leader line is not.
BAR, LEADER = 9.0, 25.0


def place_labels(
    axes: Axes,
    x: Float[Array, " n"],
    y: Float[Array, " n"],
    names: Sequence[str],
    *,
    bars: Sequence[tuple[float, float, float, float]] = (),
    size: float = 7.5,
    colour: str = "black",
    halo: str = "white",
) -> list[Annotation]:
    """Write each name near its point; names without a free position are omitted.

    Args:
        bars: horizontal or vertical segments (x0, y0, x1, y1) in data units that names should
            avoid.
        size: font size in points.
        halo: colour of the background, drawn around the letters where a line crosses them; none if
            empty, as in a page, whose style sheet draws it.

    The limits and the size of the figure must be final.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    unit = figure.dpi / 72  # pixels in a point
    frame = axes.get_window_extent(renderer).extents
    centres = axes.transData.transform(np.column_stack([x, y]))
    taken = np.hstack([centres - MARKER * unit, centres + MARKER * unit])
    ends = axes.transData.transform(np.reshape(bars, (-1, 2))).reshape(-1, 4)
    segments = np.hstack(
        [np.minimum(ends[:, :2], ends[:, 2:]), np.maximum(ends[:, :2], ends[:, 2:])]
    )
    leaders = np.empty((0, 2))
    placed = []
    for i in _most_crowded_first(centres):
        name = str(names[i])
        extent = Text(0, 0, name, fontsize=size, figure=figure).get_window_extent(renderer)
        half = np.array([extent.width, extent.height]) / 2 + MARGIN * unit
        boxes, radius = _candidates(centres[i], half, unit)
        free = (boxes[:, :2] >= frame[:2]).all(1) & (boxes[:, 2:] <= frame[2:]).all(1)
        free &= ~_overlap(boxes, taken).any(1)
        if not free.any():
            continue
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        ways = _between(centres[i], middles)
        cost = radius + BAR * _overlap(boxes, segments).sum(1)
        cost += LEADER * _holds(boxes, leaders).any(1)
        cost += (
            LEADER
            * (radius > NEAR)
            * _holds(taken, ways.reshape(-1, 2)).sum(0).reshape(len(boxes), -1).any(1)
        )
        best = int(np.argmin(np.where(free, cost, np.inf)))
        far = radius[best] > NEAR
        taken = np.vstack([taken, boxes[best]])
        leaders = np.vstack([leaders, ways[best]]) if far else leaders
        line = {"arrowstyle": "-", "color": colour, "alpha": 0.45, "lw": 0.6}
        placed.append(
            axes.annotate(
                name,
                (x[i], y[i]),
                xytext=tuple(axes.transData.inverted().transform(middles[best])),
                textcoords="data",
                fontsize=size,
                color=colour,
                ha="center",
                va="center",
                path_effects=[withStroke(linewidth=2.5, foreground=halo)] if halo else [],
                arrowprops={**line, "shrinkA": 0, "shrinkB": 3} if far else None,
            )
        )
    return placed


def _most_crowded_first(centres: Float[Array, "n 2"]) -> list[int]:
    """Order points by their nearest neighbour: crowded points have the fewest free positions."""
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    return np.argsort(np.sort(gaps, axis=1)[:, :4].sum(axis=1), kind="stable").tolist()


def _candidates(
    centre: Float[Array, "2"], half: Float[Array, "2"], unit: float
) -> tuple[Float[Array, "c 4"], Float[Array, " c"]]:
    """Yield boxes (left, bottom, right, top) around a point with their distance, nearest first."""
    radius, angle = (grid.ravel() for grid in np.meshgrid(RADII, ANGLES, indexing="ij"))
    way = np.column_stack([np.cos(angle), np.sin(angle)])
    middle = centre + way * (radius[:, None] * unit + half)
    return np.hstack([middle - half, middle + half]), radius.astype(float)


def _overlap(boxes: Float[Array, "c 4"], others: Float[Array, "m 4"]) -> Bool[Array, "c m"]:
    a, b = boxes[:, None], others[None]
    return np.logical_and(a[..., :2] < b[..., 2:], b[..., :2] < a[..., 2:]).all(axis=-1)


def _holds(boxes: Float[Array, "c 4"], points: Float[Array, "m 2"]) -> Bool[Array, "c m"]:
    return _overlap(boxes, np.hstack([points, points]))


def _between(start: Float[Array, "2"], ends: Float[Array, "c 2"]) -> Float[Array, "c s 2"]:
    """Sample points along leader lines, without their ends, which lie inside boxes by design."""
    along = np.linspace(0.25, 0.75, 16)[None, :, None]
    return start + along * (ends[:, None] - start)
