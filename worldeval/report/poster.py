"""One picture of a run for a README: a few film strips beside predicted against real success."""

import io
from pathlib import Path

from PIL import Image

from worldeval.errors import UserError
from worldeval.report.choose import chapters
from worldeval.report.contents import ReportContents
from worldeval.report.figures import Point, figure_png, predicted_against_real
from worldeval.report.strip import open_strip, write_strip_png
from worldeval.runs.films import Filmstrip
from worldeval.runs.paths import RunPaths

STRIPS = 3


def write_poster(contents: ReportContents, path: Path) -> Path:
    """Write the picture: a success, a failure and a disagreement, where they were filmed.

    Raises:
        UserError: the run has no film strip.
    """
    chosen = telling(contents.strips)
    if not chosen:
        raise UserError(
            f"{RunPaths(contents.folder).films} holds no film strip, so there is nothing to draw. "
            "Run the ranking without `--films 0`."
        )
    points = [
        Point(name=row.policy, predicted=row.predicted, real=row.truth)
        for row in contents.rows
        if row.truth is not None
    ]
    beside = None
    if points:
        beside = Image.open(io.BytesIO(figure_png(predicted_against_real(points))))
    folder = RunPaths(contents.folder).films
    shown = [open_strip(folder, entry) for entry in chosen]
    # One view keeps a README's picture readable; the report shows all of them.
    view = next(iter(shown[0].imagined))
    return write_strip_png(path, shown, views=[view], beside=beside, columns=6)


def telling(strips: tuple[Filmstrip, ...]) -> list[Filmstrip]:
    """One of each kind: success, failure, then the disagreements; more of the first if it lacks."""
    kinds = {chapter.name: list(chapter.strips) for chapter in chapters(strips, each=STRIPS)}
    order = [
        kinds.get(name, [])
        for name in ("successes", "failures", "optimism", "pessimism", "unknown")
    ]
    turns = [kind[place] for place in range(STRIPS) for kind in order if place < len(kind)]
    return turns[:STRIPS]
