"""The report of a run: HTML to read or send, Markdown for a repository or an issue."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from worldeval.files import whole_file
from worldeval.recipe import shipped
from worldeval.report.choose import Both, by_policy, chapters
from worldeval.report.contents import FURTHER, MEASURES, Evaluator, ReportContents
from worldeval.report.fidelity import Fidelity, read_fidelity
from worldeval.report.figures import (
    Panel,
    Point,
    figure_png,
    predicted_against_real,
    small_multiples,
)
from worldeval.report.number import interval, seconds, short, shown
from worldeval.report.protocol import commands, protocol
from worldeval.report.strip import caption, moments, open_strip, rows_of, strip_image
from worldeval.report.theme import DARK, LIGHT
from worldeval.report.words import escaped, headline
from worldeval.runs.films import Filmstrip
from worldeval.runs.paths import FACTS, RunPaths

COLUMNS = 8  # frames shown of a film strip
POLICIES = 40  # policies of which film strips are shown: the two take about 0.2 MB of the file
MIME = {".png": "image/png", ".webp": "image/webp"}
TEMPLATES = {".html": "report.html.j2", ".md": "report.md.j2"}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The location of a figure in both colour schemes."""

    light: str
    dark: str
    width: int  # CSS pixels, at which its letters are as large as the text
    height: int


@dataclass(frozen=True, kw_only=True)
class ShownStrip:
    """A film strip prepared for the templates."""

    entry: Filmstrip
    rows: tuple[Any, ...]  # side, view and tall (relative height)
    at: tuple[int, ...]  # world frame of each column
    src: str
    width: int
    height: int
    words: str
    judged: str  # 'success', 'failure' or ''
    linked: bool  # browsers do not open pictures that are embedded in the page
    alt: str


@dataclass(frozen=True, kw_only=True)
class _Label:
    side: str
    view: str
    tall: int


class Album:
    """The pictures of a page, stored as files beside it or embedded in it."""

    def __init__(self, folder: Path, *, embed: bool) -> None:
        self._folder, self._embed = folder, embed

    def add(self, name: str, content: bytes) -> str:
        """Store a picture and return its `src`."""
        if self._embed:
            text = base64.b64encode(content).decode("ascii")
            return f"data:{MIME[Path(name).suffix]};base64,{text}"
        with whole_file(self._folder / name) as draft:
            draft.write_bytes(content)
        return name


def write_page(contents: ReportContents, path: Path, *, embed: bool = False, each: int = 4) -> Path:
    """Write a run's report as HTML or Markdown, depending on the suffix of `path`.

    Args:
        embed: embed the pictures, so that the report is a single file, instead of writing them
            beside it.
        each: maximum number of film strips per kind of wrong prediction.

    Raises:
        UserError: the file of a film strip is missing or damaged.
    """
    template = template_environment().get_template(TEMPLATES[path.suffix])
    album = Album(path.parent, embed=embed)
    wrong = [found for found in chapters(contents.strips, each=each) if found.disagreement]
    above = {strip.key for chapter in wrong for strip in chapter.strips}
    policies = by_policy(contents.strips, [row.policy for row in contents.rows])
    folder = RunPaths(contents.folder).films
    number = count(1)
    text = template.render(
        c=contents,
        css=stylesheet(),
        headline=headline(contents),
        show={
            # A lineage that is part of the policy's name adds nothing.
            "lineage": any(not row.policy.startswith(row.lineage or "") for row in contents.rows),
            "mse": any(row.validation_mse is not None for row in contents.rows),
            "starts": any(task.starts for task in contents.tasks),
        },
        scatter=_scatter(contents, album),
        multiples=_multiples(contents, album),
        chapters=[
            {
                "title": chapter.title,
                "filmed": chapter.filmed,
                "strips": [_strip(folder, strip, next(number), album) for strip in chapter.strips],
            }
            for chapter in wrong
        ],
        policies=[
            {
                "name": both.policy,
                "strips": [
                    _strip(folder, strip, next(number), album)
                    for strip in both.strips
                    if strip.key not in above  # shown already
                ],
                "above": [strip for strip in both.strips if strip.key in above],
                "lacks": _lacking(both),
            }
            for both in policies[:POLICIES]
        ],
        further=max(0, len(policies) - POLICIES),
        facts=list(_facts(contents)),
        protocol=protocol(contents),
        commands=commands(contents),
        fidelity=_fidelity(contents),
        measures_of=_measures_of,
        MEASURES=MEASURES,
        FURTHER=FURTHER,
    )
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def _scatter(contents: ReportContents, album: Album) -> Picture | None:
    points = [
        Point(name=row.policy, predicted=row.predicted, real=row.truth)
        for row in contents.rows
        if row.truth is not None
    ]
    return _both("scatter", predicted_against_real, points, album) if points else None


def _multiples(contents: ReportContents, album: Album) -> Picture | None:
    panels = []
    for task in contents.tasks:
        points = tuple(
            Point(name=cell.policy, predicted=cell.predicted, real=cell.truth)
            for cell in task.cells
            if cell.truth is not None
        )
        rho = "" if task.spearman is None else f"   Spearman {short(task.spearman)}"
        panels += [Panel(title=f"{task.task}{rho}", points=points)] if points else []
    return _both("tasks", small_multiples, panels, album) if len(panels) > 1 else None


def _both(name: str, draw: Any, content: Sequence[Any], album: Album) -> Picture:
    drawn = {theme.name: draw(content, theme=theme) for theme in (LIGHT, DARK)}
    wide, tall = drawn["light"].get_size_inches() * 96
    light, dark = (
        album.add(f"{name}-{theme}.png", figure_png(figure)) for theme, figure in drawn.items()
    )
    return Picture(light=light, dark=dark, width=round(wide), height=round(tall))


def _strip(folder: Path, entry: Filmstrip, number: int, album: Album) -> ShownStrip:
    shown = open_strip(folder, entry)
    rows, at = rows_of(shown), moments(shown.length, COLUMNS)
    picture = strip_image(rows, at)
    words = caption(entry)
    src = album.add(f"strip-{number:02d}.webp", _webp(picture))
    return ShownStrip(
        entry=entry,
        rows=tuple(_Label(side=r.side, view=r.view, tall=r.height(100)) for r in rows),
        at=tuple(int(moment) for moment in at),
        src=src,
        linked=not src.startswith("data:"),
        width=picture.width,
        height=picture.height,
        words=words,
        judged="" if entry.probability is None else _kind(entry.probability >= 0.5),
        alt=f"{entry.policy} on {entry.task}: frames {at[0]} to {at[-1]}, {words}",
    )


def _lacking(both: Both) -> str:
    """Return the kind of verdict of which a policy has no film strip."""
    if both.success is None:
        return _kind(True)
    return _kind(False) if both.failure is None else ""


def _kind(success: bool) -> str:
    return "success" if success else "failure"


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=88, method=4)
    return buffer.getvalue()


def _facts(contents: ReportContents) -> Iterator[tuple[str, str]]:
    """Yield the facts that are needed to reproduce the run."""
    facts = contents.facts
    if facts.command:
        yield "Command", f"worldeval {facts.command}"
    for title, value in (
        ("Seed", facts.seed),
        ("Commit", facts.commit),
        ("worldeval", facts.worldeval),
        ("Python", facts.python),
        ("Machine", facts.machine),
    ):
        if value is not None:
            yield title, str(value)
    if facts.packages:
        yield "Packages", ", ".join(f"{name} {v}" for name, v in facts.packages.items() if v)
    if facts.before:
        yield (
            "Resumed",
            f"{len(facts.before)} earlier part(s) made by other code; see {FACTS}",
        )
    if contents.seconds:
        spent = (
            f"{name.replace('_', ' ')} {seconds(value)}" for name, value in contents.seconds.items()
        )
        yield "Time", ", ".join(spent)
    for name, value in contents.world.items():
        yield f"World model, {name}", value
    yield "Run folder", str(contents.folder)


def _fidelity(contents: ReportContents) -> Fidelity:
    """Read the fidelity of the run's world model, if its folder still exists."""
    folder = contents.world.get("folder")
    return read_fidelity(Path(shipped(folder))) if folder else Fidelity()


def _measures_of(evaluators: Sequence[Evaluator]) -> list[str]:
    return [name for name in MEASURES if any(name in each.measures for each in evaluators)]


def template_environment() -> Environment:
    """Return the environment of the templates, which escapes HTML."""
    environment = Environment(
        loader=PackageLoader("worldeval.report"),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        lstrip_blocks=True,
    )
    environment.filters.update(short=short, shown=shown, interval=interval, md=escaped)
    return environment


def stylesheet() -> str:
    """Return the style sheet of all pages."""
    loader = PackageLoader("worldeval.report")
    return loader.get_source(Environment(), "report.css")[0]
