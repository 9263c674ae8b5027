"""Write the report of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldeval.api.result import Result
from worldeval.errors import UserError
from worldeval.report.animation import write_animation
from worldeval.report.contents import ReportContents, read_contents
from worldeval.report.exported import check_formats, write_figures, write_tables
from worldeval.report.page import write_page
from worldeval.report.poster import write_poster
from worldeval.report.words import Headline, headline
from worldeval.runs.paths import RunPaths


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """A written report and its contents."""

    path: Path
    contents: ReportContents
    figures: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()

    @property
    def headline(self) -> Headline:
        """The opening statement: which policy is best, and whether the run supports that."""
        return headline(self.contents)


def report(
    run: str | Path | Result,
    out: str | Path | None = None,
    *,
    markdown: bool = False,
    embed: bool | None = None,
    strips: int = 4,
    picture: str | Path | None = None,
    animation: str | Path | None = None,
    figures: Sequence[str] = (),
    tables: Sequence[str] = (),
    seed: int = 0,
) -> WrittenReport:
    """Write the report of a run: ranking, agreement, gates, films and provenance.

    Args:
        run: a run folder, or a result.
        out: a folder or file. Default: `RUN/report`.
        markdown: write Markdown with pictures beside it instead of a single HTML file.
        embed: whether to embed pictures in the file. Default: only in HTML.
        strips: maximum number of films per kind of wrong prediction.
        picture: PNG file for an additional picture, for a README.
        animation: WebP or GIF file for a looping picture of two policies from the same start.
        figures: formats in which to write the figures too, into `figures/` beside the report:
            `svg`, `pdf` or `png`.
        tables: formats in which to write the tables too, into `tables/`: `csv`, `tex` or `md`.
        seed: random seed of P(best), if the run has no ranking yet.

    Returns:
        The paths and contents of the report.

    Raises:
        UserError: the run does not exist, nothing was ranked in it yet, or a format is unknown.

    >>> import worldeval as we
    >>> we.report("toy/run", "toy/report").path.as_posix()
    'toy/report/index.html'
    """
    folder = run.folder if isinstance(run, Result) else Path(run)
    target = _target(folder, None if out is None else Path(out), markdown)
    check_formats(figures, tables)
    contents = read_contents(folder, rng=np.random.default_rng(seed))
    inside = target.suffix == ".html" if embed is None else embed
    path = write_page(contents, target, embed=inside, each=strips)
    if picture is not None:
        write_poster(contents, Path(picture))
    if animation is not None:
        write_animation(contents, Path(animation))
    return WrittenReport(
        path=path,
        contents=contents,
        figures=tuple(write_figures(contents, path.parent / "figures", figures)),
        tables=tuple(write_tables(contents, path.parent / "tables", tables)),
    )


def _target(run: Path, out: Path | None, markdown: bool) -> Path:
    """Return the file to write, whose suffix determines the format."""
    name = "report.md" if markdown else "index.html"
    if out is None:
        return RunPaths(run).report / name
    if out.suffix not in (".html", ".md"):
        return out / name
    if markdown and out.suffix != ".md":
        raise UserError(f"--markdown writes a .md file, but --out is {out}. Change one of them.")
    return out
