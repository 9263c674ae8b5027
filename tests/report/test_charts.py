"""The viewer's charts: complete, and never told by colour alone."""

import numpy as np

from worldeval.report.charts import DASHES, PALETTE, matrix, over_time
from worldeval.report.theme import DARK, LIGHT
from worldeval.stats import Comparison, Estimate


def duel(second: str, difference: float | None, *, separated: bool) -> Comparison:
    """Policy a against another."""
    return Comparison(
        first="a",
        second=second,
        difference=Estimate(value=difference),
        p=0.5,
        p_holm=0.5,
        p_mcnemar=None,
        separated=separated,
        needed=None,
    )


def test_lines_over_time_have_every_number_and_a_cursor() -> None:
    series = {"x": np.array([0.0, 1.0, np.nan]), "y": np.array([2.0, 3.0, 4.0])}
    spec = over_time(series, cursor=1.5, theme=LIGHT, title="pose", unit=0.5)
    lines, cursor = spec["layer"]
    assert [(row["name"], row["frame"]) for row in lines["data"]["values"]] == [
        ("x", 0.0), ("x", 0.5), ("y", 0.0), ("y", 0.5), ("y", 1.0),
    ]  # fmt: skip
    assert cursor["data"]["values"] == [{"frame": 1.5}]


def test_every_line_differs_in_colour_and_dash() -> None:
    names = [f"action {i}" for i in range(len(PALETTE) + 2)]
    spec = over_time({name: np.zeros(2) for name in names}, cursor=0, theme=DARK, title="a")
    encoding = spec["layer"][0]["encoding"]
    colours = encoding["color"]["scale"]["range"]
    dashes = [tuple(dash) for dash in encoding["strokeDash"]["scale"]["range"]]
    assert len(set(zip(colours, dashes, strict=True))) == len(names)
    assert set(dashes) == {tuple(dash) for dash in DASHES}


def test_what_really_happened_is_dashed_and_marked_alike() -> None:
    imagined, real = {"x": np.zeros(3), "y": np.ones(3)}, {"x": np.ones(2), "y": np.zeros(2)}
    spec = over_time(imagined, real=real, cursor=0, theme=LIGHT, title="pose", unit=0.5)
    lines = spec["layer"][0]
    rows = [row for row in lines["data"]["values"] if row["side"] == "measured"]
    assert [(row["name"], row["frame"], row["value"]) for row in rows] == [
        ("x", 0.0, 1.0), ("x", 0.5, 1.0), ("y", 0.0, 0.0), ("y", 0.5, 0.0),
    ]  # fmt: skip
    encoding = lines["encoding"]
    assert encoding["strokeDash"]["field"] == "side"
    solid, dashed = encoding["strokeDash"]["scale"]["range"]
    assert solid == [1, 0] != dashed
    assert len(set(encoding["shape"]["scale"]["range"])) == 2


def test_a_pair_stands_both_ways_and_is_marked_where_told_apart() -> None:
    duels = [
        duel("b", 0.3, separated=True),
        duel("c", None, separated=False),
    ]
    rows = matrix(["a", "b", "c"], duels, theme=LIGHT)["data"]["values"]
    assert [(row["row"], row["column"], row["difference"]) for row in rows] == [
        ("a", "b", 0.3), ("b", "a", -0.3),
    ]  # fmt: skip
    assert {row["mark"] for row in rows} == {"●"}
