"""`worldeval report`: a ranking run as a page to read and to send."""

from pathlib import Path
from typing import Annotated, Any

import typer

from worldeval.cli.common import Json, Out, Seed, console, emit


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command()(report)


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a ranking run.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown, not HTML.")] = False,
    embed: Annotated[
        bool | None,
        typer.Option(help="Pictures inside of the one file, as HTML has them, or beside it."),
    ] = None,
    strips: Annotated[int, typer.Option(help="Film strips of each way of being wrong.", min=0)] = 4,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Also draw a README's picture (PNG) here.")
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write the report of a run: ranking, agreement, gates, film strips and where it comes from.

    The report is one file that can be sent, in RUN/report unless --out names a folder or file.
    Markdown has its pictures beside it.
    """
    import numpy as np

    from worldeval.report.contents import read_contents
    from worldeval.report.page import write_page
    from worldeval.report.poster import write_poster
    from worldeval.report.words import headline

    contents = read_contents(run, rng=np.random.default_rng(seed))
    target = _target(run, out, markdown)
    inside = target.suffix == ".html" if embed is None else embed
    path = write_page(contents, target, embed=inside, each=strips)
    if picture is not None:
        write_poster(contents, picture)
    said = headline(contents)
    emit(_facts(contents, path, picture), as_json=as_json)
    if not as_json:
        for found in contents.refusals:
            console.print(f"refusal: {found.text}", style="red", markup=False, highlight=False)
        console.print(said.verdict, style="bold", markup=False, highlight=False)
        for made in filter(None, (path, picture)):
            console.print(str(made), markup=False, highlight=False, soft_wrap=True)


def _target(run: Path, out: Path | None, markdown: bool) -> Path:
    """The file to write: its suffix says which kind."""
    from worldeval.errors import UserError
    from worldeval.runs.paths import RunPaths

    name = "report.md" if markdown else "index.html"
    if out is None:
        return RunPaths(run).report / name
    if out.suffix not in (".html", ".md"):
        return out / name
    if markdown and out.suffix != ".md":
        raise UserError(f"--markdown writes a .md file, and --out is {out}.")
    return out


def _facts(contents: Any, path: Path, picture: Path | None) -> dict[str, Any]:
    """What `--json` prints: the report's numbers, without the cells of its tables."""
    from dataclasses import asdict

    from worldeval.report.words import headline

    return {
        "report": path,
        "picture": picture,
        "headline": asdict(headline(contents)),
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
