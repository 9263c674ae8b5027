"""The page of an explanation: what was found, the curves of every start, and the films."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worldeval.files import whole_file
from worldeval.report.number import interval, short, shown
from worldeval.report.page import stylesheet, template_environment
from worldeval.runs.explanation import Explanation, PartedStart
from worldeval.runs.films import Frames

PAGE = "index.html"
CELL, LINE = 22, 13  # pixels of the picture of curves


@dataclass(frozen=True, kw_only=True)
class CurveRow:
    """A start in the picture of curves."""

    start: PartedStart
    y: int
    cells: tuple[tuple[float, float, float], ...]  # x, width, probability of success


def choose_films(found: Explanation, count: int) -> list[PartedStart]:
    """Choose starts to film, in turn from every loser and phase, the largest differences first."""
    queues: dict[tuple[str, str], list[PartedStart]] = {}
    clear = sorted(found.parted, key=lambda one: (not one.clear, -_gap(one)))
    for one in clear:
        queues.setdefault((one.loser, one.phase if one.clear else ""), []).append(one)
    order = sorted(queues.values(), key=len, reverse=True)
    turns = max(map(len, order), default=0)
    return [queue[turn] for turn in range(turns) for queue in order if turn < len(queue)][:count]


def write_explanation_page(found: Explanation, path: Path) -> Path:
    """Write the page; films lie beside it under the names in `found`."""
    template = template_environment().get_template("explanation.html.j2")
    rows, height = _rows(found)
    text = template.render(
        e=found,
        css=stylesheet(),
        rows=rows,
        height=height,
        width=max((row.cells[-1][0] + row.cells[-1][1] for row in rows), default=0),
        horizon=max((one.rescue.moments[-1] for one in found.parted), default=0),
        cell=CELL,
        line=LINE,
        films=[one for one in found.parted if one.film],
        colour=_colour,
        points=_points,
        shown=shown,
        interval=interval,
        short=short,
    )
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def film_of(start: PartedStart, names: Sequence[str], frames: Mapping[str, Frames]) -> bytes:
    """Make the film of a start as mp4."""
    from worldeval.report.versus import versus, versus_mp4

    return versus_mp4(versus(start, names, frames))


def _rows(found: Explanation) -> tuple[list[CurveRow], int]:
    """Order the starts by loser and moment, with a gap between the two losers."""
    rows, y = [], 0
    starts = sorted(found.parted, key=lambda one: (one.task, one.begin, one.start))
    losers = list(dict.fromkeys(each.loser for each in found.clusters))
    for loser in losers:
        for one in starts:
            if one.loser != loser:
                continue
            moments = one.rescue.moments
            # Each moment is drawn where the loser hands over; the end is as wide as a usual chunk.
            step = moments[1] - moments[0]
            ends = (*moments[1:], moments[-1] + step)
            cells = tuple(
                (CELL * moment / step, CELL * (end - moment) / step, probability)
                for moment, end, probability in zip(
                    moments, ends, one.rescue.probability, strict=True
                )
            )
            rows.append(CurveRow(start=one, y=y, cells=cells))
            y += LINE
        y += LINE
    return rows, y


def _gap(one: PartedStart) -> float:
    return one.probability[one.winner] - one.probability[one.loser]


def _colour(probability: float) -> str:
    """Blue for success, vermilion for failure, pale in between."""
    side = (0, 114, 178) if probability >= 0.5 else (213, 94, 0)
    strength = abs(probability - 0.5) * 2
    red, green, blue = (round(245 + (part - 245) * strength) for part in side)
    return f"rgb({red},{green},{blue})"


def _points(moments: Sequence[int], probability: Sequence[float]) -> str:
    """Points of an SVG line, 100 wide and 30 tall."""
    last = max(moments[-1], 1)
    pairs = zip(moments, probability, strict=True)
    return " ".join(f"{100 * moment / last:.1f},{30 - 28 * p - 1:.1f}" for moment, p in pairs)
