"""Heat maps with known rates."""

from typing import Any

import numpy as np

from worldeval.report.compared import IN_SIMULATOR
from worldeval.report.heat_map import MISSING, heat_map, heat_parts
from worldeval.report.number import NONE
from worldeval.report.table import Cell, TaskRow
from worldeval.stats import Estimate

POLICIES = ["good/step-2", "bad/step-1"]


def task(name: str, rates: dict[str, tuple[float, float | None]]) -> TaskRow:
    cells = tuple(
        Cell(
            policy=policy,
            predicted=Estimate(value=predicted),
            truth=None if real is None else Estimate(value=real),
        )
        for policy, (predicted, real) in rates.items()
    )
    rest: dict[str, Any] = dict.fromkeys(("starts", "predicted", "truth", "spearman", "error"))
    return TaskRow(task=name, cells=cells, bias=None, **rest)


OPEN = task("open", {"good/step-2": (1.0, 0.75), "bad/step-1": (0.25, 0.5)})
CLOSE = task("close", {"good/step-2": (0.5, None)})


def test_parts_hold_rates_and_their_difference() -> None:
    predicted, real, difference = heat_parts([OPEN, CLOSE], POLICIES, IN_SIMULATOR)
    assert [part.title for part in (predicted, real, difference)] == [
        "predicted", "simulator", "difference",
    ]  # fmt: skip
    np.testing.assert_equal(predicted.values, [[1.0, 0.5], [0.25, np.nan]])
    np.testing.assert_equal(real.values, [[0.75, np.nan], [0.5, np.nan]])
    assert [cell.text for cell in difference.row(0)] == ["+.25", NONE]
    assert [cell.text for cell in difference.row(1)] == ["\N{MINUS SIGN}.25", NONE]
    assert [cell.text for cell in predicted.row(0)] == ["1.0", ".50"]
    assert next(iter(predicted.row(1))).text == ".25"


def test_colours_tell_optimism_from_pessimism_and_letters_are_legible() -> None:
    _, _, difference = heat_parts([OPEN], POLICIES, IN_SIMULATOR)
    optimistic, pessimistic = (next(difference.row(k)) for k in range(2))
    assert int(optimistic.fill[1:3], 16) > int(optimistic.fill[5:], 16)  # orange
    assert int(pessimistic.fill[1:3], 16) < int(pessimistic.fill[5:], 16)  # blue
    assert difference.cell(0.001).text == ".00"
    assert difference.cell(float("nan")).fill == MISSING
    rates = heat_parts([OPEN], POLICIES, IN_SIMULATOR)[0]
    assert rates.cell(1.0).ink == "#000000" and rates.cell(0.0).ink == "#ffffff"


def test_without_measured_outcomes_there_is_one_part() -> None:
    (part,) = heat_parts([CLOSE], POLICIES, IN_SIMULATOR)
    assert part.title == "predicted"


def test_labels_of_the_figure_do_not_overlap() -> None:
    many = [task(f"a-task-with-a-long-name-{k}", {"good/step-2": (0.5, 0.5)}) for k in range(30)]
    for tasks in ([OPEN, CLOSE], many):
        figure = heat_map(heat_parts(tasks, POLICIES, IN_SIMULATOR))
        figure.draw_without_rendering()
        boxes = [
            label.get_window_extent()
            for axes in figure.axes
            for label in (*axes.get_xticklabels(), *axes.get_yticklabels())
            if label.get_text()
        ]
        boxes += [text.get_window_extent() for text in figure.texts]
        assert not [(a, b) for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)]
        page = figure.bbox
        assert all(page.x0 <= box.x0 and box.x1 <= page.x1 for box in boxes)
        assert all(page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
