"""Vega-Lite charts of the viewer: lines over time, predicted against measured, and pairs.

Lines differ both in colour (the colour-blind-safe palette of Okabe and Ito) and in dash pattern.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldeval.axes import Array
from worldeval.report.table import PolicyRow
from worldeval.report.theme import Theme
from worldeval.stats import Comparison

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
PALETTE_DARK = ("#56b4e9", "#e69f00", "#2fc79b", "#cc79a7", "#f0e442", "#8ab6ff")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
MARKS = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
IMAGINED, REAL = "imagined", "measured"
SIDES = f"solid: {IMAGINED}, dashed: {REAL}"
HEIGHT, LEGEND = 200, 90  # pixels
CURSOR = "#888888"


def over_time(
    series: Mapping[str, Array],
    *,
    real: Mapping[str, Array] | None = None,
    cursor: float,
    theme: Theme,
    title: str,
    unit: float = 1.0,
    domain: tuple[float, float] | None = None,
    colours: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Draw one line per name over world frames, with a vertical line at `cursor`.

    Args:
        real: measured series of the same names, drawn dashed in the same colours and marks.
        unit: world frames between two numbers, below 1 if a frame has several numbers.
        colours: colours of some names, instead of those of the palette.
    """
    names = list(series)
    rows = _rows(series, unit)
    palette = PALETTE_DARK if theme.name == "dark" else PALETTE
    chosen = [(colours or {}).get(name, palette[i % len(palette)]) for i, name in enumerate(names)]
    dashes = [list(DASHES[(i // 2) % len(DASHES)]) for i in range(len(names))]
    x = {"field": "frame", "type": "quantitative", "title": "world frame"}
    y: dict[str, Any] = {"field": "value", "type": "quantitative", "title": title}
    if domain is not None:
        y["scale"] = {"domain": list(domain)}
    legend = {"orient": "bottom", "title": None, "columns": 4} if len(names) > 1 else None
    encoding = {
        "x": x,
        "y": y,
        "color": {
            "field": "name",
            "type": "nominal",
            "sort": names,
            "scale": {"domain": names, "range": chosen},
            "legend": legend,
        },
        "strokeDash": {
            "field": "name",
            "type": "nominal",
            "sort": names,
            "scale": {"domain": names, "range": dashes},
            "legend": legend,
        },
        "tooltip": [
            {"field": "name", "type": "nominal"},
            {"field": "frame", "type": "quantitative"},
            {"field": "value", "type": "quantitative", "format": ".3f"},
        ],
    }
    mark: dict[str, Any] = {"type": "line", "strokeWidth": 2, "point": len(rows) <= 40}
    if real:
        rows = [{**row, "side": IMAGINED} for row in rows]
        rows += [{**row, "side": REAL} for row in _rows(real, unit)]
        mark["point"] = {"size": 18}
        sides = {"domain": [IMAGINED, REAL], "range": [[1, 0], [5, 4]]}
        # Dashes now distinguish the sides, so names differ in marks as well as colours.
        told = {"orient": "bottom", "title": SIDES, "titleLimit": 400, "columns": 4}
        encoding["color"]["legend"] = told
        encoding["shape"] = {key: encoding["color"][key] for key in ("field", "type", "sort")}
        encoding["shape"] |= {"scale": {"domain": names, "range": _marks(names)}, "legend": told}
        encoding["strokeDash"] = {
            "field": "side", "type": "nominal", "scale": sides, "legend": None,
        }  # fmt: skip
        encoding["tooltip"].append({"field": "side", "type": "nominal"})
    lines = {"data": {"values": rows}, "mark": mark, "encoding": encoding}
    rule = {
        "data": {"values": [{"frame": cursor}]},
        "mark": {"type": "rule", "strokeWidth": 2, "color": CURSOR},
        "encoding": {"x": x},
    }
    return {"layer": [lines, rule], "height": HEIGHT + (LEGEND if legend or real else 0)}


def _rows(series: Mapping[str, Array], unit: float) -> list[dict[str, Any]]:
    return [
        {"frame": round(place * unit, 4), "value": float(value), "name": name}
        for name, values in series.items()
        for place, value in enumerate(values)
        if np.isfinite(value)
    ]


def _marks(names: Sequence[str]) -> list[str]:
    return [MARKS[place % len(MARKS)] for place in range(len(names))]


def scatter(rows: Sequence[PolicyRow], *, theme: Theme) -> dict[str, Any]:
    """Draw predicted against measured success of policies, both with intervals, and y = x.

    Points carry the rank of their policy; a tooltip names it.
    """
    values = []
    for row in rows:
        predicted, real = row.predicted, row.truth
        if real is None or predicted.value is None or real.value is None:
            continue
        values.append(
            {
                "rank": row.rank,
                "policy": row.policy,
                "predicted": predicted.value,
                "measured": real.value,
                **{f"predicted {side}": getattr(predicted, side) for side in ("low", "high")},
                **{f"measured {side}": getattr(real, side) for side in ("low", "high")},
            }
        )

    def axis(field: str, colour: str) -> dict[str, Any]:
        return {
            "field": field,
            "type": "quantitative",
            "title": f"{field} success rate",
            "scale": {"domain": [0, 1]},
            "axis": {"titleColor": colour},
        }

    x, y = axis("predicted", theme.imagined), axis("measured", theme.real)
    across = {"x": {**x, "field": "predicted low"}, "x2": {"field": "predicted high"}, "y": y}
    up = {"x": x, "y": {**y, "field": "measured low"}, "y2": {"field": "measured high"}}
    place = {"x": x, "y": y}
    tooltip = [
        {"field": name, "type": kind, **({"format": ".2f"} if kind == "quantitative" else {})}
        for name, kind in (
            ("policy", "nominal"), ("predicted", "quantitative"), ("measured", "quantitative"),
        )
    ]  # fmt: skip
    ends = [{"predicted": 0, "measured": 0}, {"predicted": 1, "measured": 1}]
    line = {"type": "line", "color": theme.faint, "strokeDash": [5, 4], "strokeWidth": 1}
    bar = {"type": "rule", "opacity": 0.4}
    return {
        "data": {"values": values},
        "height": 420,
        "layer": [
            {"data": {"values": ends}, "mark": line, "encoding": place},
            {"mark": {**bar, "color": theme.imagined}, "encoding": across},
            {"mark": {**bar, "color": theme.real}, "encoding": up},
            {
                "mark": {"type": "point", "filled": True, "size": 70, "color": theme.ink},
                "encoding": {**place, "tooltip": tooltip},
            },
            {
                "mark": {"type": "text", "dx": 10, "dy": -8, "color": theme.ink, "fontSize": 11},
                "encoding": {**place, "text": {"field": "rank"}},
            },
        ],
    }


def matrix(names: Sequence[str], duels: Sequence[Comparison], *, theme: Theme) -> dict[str, Any]:
    """Draw every pair of policies: predicted success of the row minus that of the column.

    A dot marks pairs that are statistically separated, so that nothing depends on colour alone.
    """
    rows = []
    for duel in duels:
        if duel.difference.value is None:
            continue
        for row, column, sign in ((duel.first, duel.second, 1), (duel.second, duel.first, -1)):
            rows.append(
                {
                    "row": row,
                    "column": column,
                    "difference": round(sign * duel.difference.value, 4),
                    "separated": "yes" if duel.separated else "no",
                    "mark": "●" if duel.separated else "",
                }
            )
    place = {
        "x": {
            "field": "column",
            "type": "nominal",
            "sort": list(names),
            "title": None,
            "axis": {
                "labelAngle": -60,
                "orient": "top",
                "labelLimit": 220,
                "labelOverlap": False,
            },
        },
        "y": {
            "field": "row",
            "type": "nominal",
            "sort": list(names),
            "title": None,
            "axis": {"labelLimit": 220, "labelOverlap": False},
        },
    }
    middle = theme.grid
    tooltip = [
        {"field": "row", "type": "nominal"},
        {"field": "column", "type": "nominal"},
        {"field": "difference", "type": "quantitative", "format": "+.2f"},
        {"field": "separated", "type": "nominal"},
    ]
    colour = {
        "field": "difference",
        "type": "quantitative",
        "title": "row minus column",
        # Listed explicitly, because Streamlit's theme would override the colours.
        "scale": {
            "domain": [-1, 0, 1],
            "range": [theme.real, middle, theme.imagined],
            "interpolate": "rgb",  # others go through pink
        },
    }
    return {
        "data": {"values": rows},
        "height": {"step": 24},
        "layer": [
            {"mark": "rect", "encoding": {**place, "color": colour, "tooltip": tooltip}},
            {
                "mark": {"type": "text", "fontSize": 9, "color": theme.ink},
                "encoding": {**place, "text": {"field": "mark"}},
            },
        ],
    }
