"""The report of a run: HTML to read or send, Markdown for a repository or an issue."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from worldeval.files import whole_file
from worldeval.recipe import shipped
from worldeval.report.album import Album, verdict
from worldeval.report.chart_svg import chart_svg
from worldeval.report.choose import Both, by_policy, chapters
from worldeval.report.contents import FURTHER, MEASURES, Evaluator, ReportContents
from worldeval.report.drawn import rate_panels, rate_points
from worldeval.report.fidelity import Fidelity, read_fidelity
from worldeval.report.figures import figure_png, predicted_against_real, small_multiples
from worldeval.report.heat_map import heat_parts
from worldeval.report.number import interval, seconds, short, shown
from worldeval.report.protocol import commands, protocol
from worldeval.report.short_names import lineage_and_step
from worldeval.report.theme import LIGHT, PAGE
from worldeval.report.words import escaped, headline
from worldeval.runs.paths import FACTS, RunPaths

POLICIES = 40  # policies of which films are shown: the two take about 0.1 MB of the file
ABREAST = 6  # tasks of a heat map whose parts fit side by side
TEMPLATES = {".html": "report.html.j2", ".md": "report.md.j2"}
# Anchor -> title, in the order of the page.
SECTIONS = {
    "ranking": "Ranking",
    "agreement": "Agreement",
    "tasks": "Task by task",
    "gates": "Gates",
    "fidelity": "Fidelity",
    "episodes": "Episodes",
    "protocol": "Protocol",
    "provenance": "Provenance",
}


@dataclass(frozen=True, kw_only=True)
class PageChart:
    """A figure of a page: as SVG for a wide and a narrow window, or as a picture beside it."""

    wide: str
    narrow: str
    src: str


def write_page(contents: ReportContents, path: Path, *, embed: bool = False, each: int = 4) -> Path:
    """Write a run's report as HTML or Markdown, depending on the suffix of `path`.

    Films are clips in HTML, and strips of a few frames in Markdown.

    Args:
        embed: embed the pictures, so that the report is a single file, instead of writing them
            beside it.
        each: maximum number of films per kind of wrong prediction.

    Raises:
        UserError: the file of a film strip is missing or damaged.
    """
    template = template_environment().get_template(TEMPLATES[path.suffix])
    html = path.suffix == ".html"
    paths = RunPaths(contents.folder)
    album = Album(paths, path.parent, embed=embed, compared=contents.compared)
    filmed = album.clip if html else album.strip
    found = chapters(contents.strips, each=each, where=contents.compared.where)
    wrong = [chapter for chapter in found if chapter.disagreement]
    above = {strip.key for chapter in wrong for strip in chapter.strips}
    policies = by_policy(contents.strips, [row.policy for row in contents.rows])
    fidelity, told = _fidelity(contents), protocol(contents)
    scatter, multiples = (draw(contents, album, html=html) for draw in (_scatter, _multiples))
    present = {
        "ranking": contents.rows,
        "agreement": contents.evaluators or scatter,
        "tasks": contents.tasks,
        "gates": contents.gates,
        "fidelity": fidelity.known,
        "episodes": contents.pairs or policies,
        "protocol": told,
        "provenance": True,
    }
    rows = {row.policy: row for row in contents.rows}
    text = template.render(
        c=contents,
        words=contents.compared,
        css=stylesheet(),
        headline=headline(contents),
        sections={name: title for name, title in SECTIONS.items() if present[name]},
        show={
            # A lineage that is part of the policy's name adds nothing.
            "lineage": any(not row.policy.startswith(row.lineage or "") for row in contents.rows),
            "mse": any(row.validation_mse is not None for row in contents.rows),
            "starts": any(task.starts for task in contents.tasks),
        },
        scatter=scatter,
        multiples=multiples,
        heat=heat_parts(contents.tasks, list(rows), contents.compared) if contents.tasks else (),
        abreast=len(contents.tasks) <= ABREAST,
        chapters=[
            {
                "title": chapter.title,
                "filmed": chapter.filmed,
                "films": [filmed(strip) for strip in chapter.strips],
            }
            for chapter in wrong
        ],
        policies=[
            {
                "name": both.policy,
                "row": rows.get(both.policy),
                "films": [filmed(strip) for strip in both.strips if strip.key not in above],
                "above": [strip for strip in both.strips if strip.key in above],  # shown already
                "lacks": _lacking(both),
            }
            for both in policies[:POLICIES]
        ],
        further=max(0, len(policies) - POLICIES),
        facts=list(_facts(contents)),
        protocol=told,
        commands=commands(contents),
        fidelity=fidelity,
        measures_of=_measures_of,
        MEASURES=MEASURES,
        FURTHER=FURTHER,
    )
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def _scatter(contents: ReportContents, album: Album, *, html: bool) -> PageChart | None:
    points = rate_points(contents)
    alt = f"Predicted against {contents.compared.adjective} success rate of every policy"
    return _chart("scatter", predicted_against_real, points, contents, album, alt, html=html)


def _multiples(contents: ReportContents, album: Album, *, html: bool) -> PageChart | None:
    panels = rate_panels(contents)
    panels = panels if len(panels) > 1 else []
    alt = f"Predicted against {contents.compared.adjective} success rate on each task"
    return _chart("tasks", small_multiples, panels, contents, album, alt, html=html)


def _chart(
    name: str,
    draw: Callable[..., Figure],
    content: Sequence[Any],
    contents: ReportContents,
    album: Album,
    alt: str,
    *,
    html: bool,
) -> PageChart | None:
    if not content:
        return None
    words = contents.compared
    if not html:
        png = figure_png(draw(content, theme=LIGHT, words=words))
        return PageChart(wide="", narrow="", src=album.add(f"{name}.png", png))
    wide, narrow = (
        chart_svg(draw(content, theme=PAGE, words=words, narrow=small), which, alt=alt)
        for small, which in ((False, f"{name}-wide"), (True, f"{name}-narrow"))
    )
    return PageChart(wide=wide, narrow=narrow, src="")


def _lacking(both: Both) -> str:
    """Return the kind of verdict of which a policy has no film strip."""
    if both.success is None:
        return verdict(True)
    return verdict(False) if both.failure is None else ""


def _facts(contents: ReportContents) -> Iterator[tuple[str, str]]:
    """Yield the facts that are needed to reproduce the run."""
    facts = contents.facts
    if facts.begun:
        yield "Begun", facts.begun
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
        if name not in ("folder", "hash"):  # among the fingerprints
            yield f"World model, {name.replace('_', ' ')}", value
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
    environment.filters.update(
        short=short, shown=shown, interval=interval, md=escaped, parted=lineage_and_step
    )
    return environment


def stylesheet() -> str:
    """Return the style sheet of all pages."""
    loader = PackageLoader("worldeval.report")
    return loader.get_source(Environment(), "report.css")[0]
