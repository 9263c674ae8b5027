"""A picture of a run for a README: film strips beside predicted against measured success."""

import io
import json
from pathlib import Path

from PIL import Image

from worldeval.errors import UserError
from worldeval.report.choose import chapters
from worldeval.report.contents import ReportContents
from worldeval.report.drawn import rate_points
from worldeval.report.figures import figure_png, predicted_against_real
from worldeval.report.strip import open_strip, write_strip_png
from worldeval.runs.films import Filmstrip
from worldeval.runs.paths import RunPaths

STRIPS = 3


def write_poster(contents: ReportContents, path: Path) -> Path:
    """Write the picture: a success, a failure and a wrong prediction, where film strips exist.

    Raises:
        UserError: the run has no film strip.
    """
    chosen = telling(contents.strips)
    if not chosen:
        raise UserError(
            f"{RunPaths(contents.folder).films} contains no film strip to draw. "
            "Run the ranking without `--films 0`."
        )
    points = rate_points(contents)
    beside = None
    if points:
        beside = Image.open(
            io.BytesIO(figure_png(predicted_against_real(points, words=contents.compared)))
        )
    folder = RunPaths(contents.folder).films
    shown = [open_strip(folder, entry) for entry in chosen]
    # One view keeps the picture readable; the report shows all views.
    view = next(iter(shown[0].imagined))
    told = [
        {
            "policy": row.policy,
            "predicted": row.predicted.value,
            "measured": None if row.truth is None else row.truth.value,
        }
        for row in contents.rows
    ]
    return write_strip_png(
        path,
        shown,
        views=[view],
        beside=beside,
        columns=6,
        description=json.dumps(told),
        label=contents.compared.label,
    )


def telling(strips: tuple[Filmstrip, ...]) -> list[Filmstrip]:
    """Choose one success, one failure and one disagreement, or more successes if one is missing.

    The tasks differ if there are enough film strips.
    """
    kinds = {chapter.name: list(chapter.strips) for chapter in chapters(strips, each=len(strips))}
    order = [
        kinds.get(name, [])
        for name in ("successes", "failures", "optimism", "pessimism", "unknown")
    ]
    shown: list[Filmstrip] = []
    while len(shown) < STRIPS and any(order):
        for kind in filter(None, order):
            tasks = {strip.task for strip in shown}
            chosen = next((strip for strip in kind if strip.task not in tasks), kind[0])
            kind.remove(chosen)
            shown.append(chosen)
    return shown[:STRIPS]
