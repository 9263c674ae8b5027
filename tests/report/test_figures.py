"""Figures: names that never cover each other, and a panel for each task."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from worldeval.report.annotate import place_labels
from worldeval.report.figures import (
    Panel,
    Point,
    figure_png,
    predicted_against_real,
    small_multiples,
)
from worldeval.report.theme import DARK
from worldeval.stats import Estimate


def point(name: str, predicted: float, real: float) -> Point:
    def bounded(value: float) -> Estimate:
        return Estimate(value=value, low=max(0, value - 0.1), high=min(1, value + 0.1))

    return Point(name=name, predicted=bounded(predicted), real=bounded(real))


def boxes(figure: Figure):
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # annotations find their place when they are drawn
    axes = figure.axes[0]
    # Of the text alone: an annotation's own extent has its leader line in it.
    return [Text.get_window_extent(text, renderer) for text in axes.texts], axes


def test_names_of_crowded_points_do_not_overlap(rng: np.random.Generator) -> None:
    points = [point(f"policy-{i}@{i}00", *rng.uniform(0, 0.15, 2)) for i in range(12)]
    points += [point(f"good-{i}@{i}00", *rng.uniform(0.9, 1, 2)) for i in range(6)]
    placed, axes = boxes(predicted_against_real(points))
    assert len(placed) == 18
    assert not any(a.overlaps(b) for i, a in enumerate(placed) for b in placed[:i])
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in placed)
    markers = axes.transData.transform(
        np.array([(p.predicted.value, p.real.value) for p in points], float)
    )
    assert not any(box.contains(*marker) for box in placed for marker in markers)


def test_a_lone_name_stands_beside_its_point() -> None:
    placed, axes = boxes(predicted_against_real([point("only", 0.5, 0.5)]))
    x, y = axes.transData.transform((0.5, 0.5))
    assert abs(placed[0].y0 - y) + min(abs(placed[0].x0 - x), abs(placed[0].x1 - x)) < 80


def test_a_name_without_room_is_left_out() -> None:
    figure = Figure(figsize=(0.4, 0.4))
    axes = figure.add_axes((0, 0, 1, 1))
    names = ["far too long for this"]
    assert place_labels(axes, np.array([0.5]), np.array([0.5]), names) == []


def test_an_undefined_rate_is_no_point() -> None:
    unknown = Point(name="x", predicted=Estimate(value=None), real=Estimate(value=0.5))
    figure = predicted_against_real([unknown])
    assert not figure.axes[0].collections
    assert not figure.axes[0].texts


def test_each_task_has_a_panel_with_its_title() -> None:
    panels = [Panel(title=f"task $ {i}", points=(point("a", 0.2, 0.3),)) for i in range(4)]
    figure = small_multiples(panels, theme=DARK)
    assert [axes.get_title() for axes in figure.axes[:4]] == [panel.title for panel in panels]
    image = Image.open(io.BytesIO(figure_png(figure))).convert("RGB")
    assert image.getpixel((2, 2)) == (0x16, 0x19, 0x1D)
