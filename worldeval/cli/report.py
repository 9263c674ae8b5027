"""`worldeval report`: write a ranking run as a page to read and send."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldeval.cli.common import OUTPUT, Json, Out, Seed, console, emit, verb

if TYPE_CHECKING:
    from worldeval.api.report import WrittenReport


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(
        app, "report", report,
        "worldeval report runs/demo",
        "worldeval report runs/demo --figures svg,pdf --tables csv,tex,md --out paper",
        "worldeval report runs/demo --markdown --out docs/demo.md",
    )  # fmt: skip


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a ranking run.")],
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Write Markdown instead of HTML.", rich_help_panel=OUTPUT),
    ] = False,
    embed: Annotated[
        bool | None,
        typer.Option(
            help="Embed pictures in the file, or write them beside it. Default: embed in HTML.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    strips: Annotated[
        int,
        typer.Option(
            help="Maximum number of films per kind of wrong prediction.",
            min=0,
            rich_help_panel=OUTPUT,
        ),
    ] = 4,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            help="PNG file for an additional picture, for a README.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    animation: Annotated[
        Path | None,
        typer.Option(
            "--animation",
            help="WebP or GIF file for a looping picture of two policies from the same start.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    figures: Annotated[
        str | None,
        typer.Option(
            help="Formats in which to write the figures too, separated by commas: svg, pdf, png.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    tables: Annotated[
        str | None,
        typer.Option(
            help="Formats in which to write the tables too, separated by commas: csv, tex, md.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write the report of a run: ranking, agreement, gates, films and provenance.

    The report is a single file, in RUN/report unless --out names a folder or file. The pictures of
    a Markdown report, and the folders figures and tables, are written beside it.
    """
    from worldeval.api.report import report as written

    done = written(
        run,
        out,
        markdown=markdown,
        embed=embed,
        strips=strips,
        picture=picture,
        animation=animation,
        figures=_listed(figures),
        tables=_listed(tables),
        seed=seed,
    )
    emit(_facts(done, picture), as_json=as_json)
    if not as_json:
        for found in done.contents.refusals:
            console.print(f"refusal: {found.text}", style="red")
        console.print(done.headline.verdict, style="bold")
        further = (*done.figures, *done.tables)
        for made in filter(None, (done.path, picture, animation, *further)):
            console.print(str(made), soft_wrap=True)


def _listed(text: str | None) -> list[str]:
    """Split `svg,pdf`."""
    return [each.strip() for each in (text or "").split(",") if each.strip()]


def _facts(done: "WrittenReport", picture: Path | None) -> dict[str, Any]:
    """Return the numbers that `--json` prints, without the cells of the tables."""
    from dataclasses import asdict

    contents = done.contents
    return {
        "report": done.path,
        "picture": picture,
        "figures": list(done.figures),
        "tables": list(done.tables),
        "headline": asdict(done.headline),
        "policies": [asdict(row) for row in contents.rows],
        "tasks": [
            {key: value for key, value in asdict(task).items() if key != "cells"}
            for task in contents.tasks
        ],
        "agreement": [asdict(each) for each in contents.evaluators],
        "gates": [asdict(gate) for gate in contents.gates],
        "findings": [found.to_json() for found in contents.findings],
        "pairs": asdict(contents.pairs) if contents.pairs else None,
        "filmstrips": len(contents.strips),
    }
