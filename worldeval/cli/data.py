"""`worldeval data ...`: look at recorded trajectories, check them, convert them, collect more."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldeval.cli.common import Json, console, emit, log

if TYPE_CHECKING:
    from worldeval.data.summary import Range, Summary

data = typer.Typer(name="data", help="Read, check and convert trajectories.", no_args_is_help=True)

Dataset = Annotated[Path, typer.Argument(help="The folder (or file) of a dataset.")]
Format = Annotated[str | None, typer.Option("--format", help="Its format, where not detected.")]

# Verbs of this group that have a file of their own, each with `register(data)`.
FURTHER = ("collect",)


def register(app: typer.Typer) -> None:
    """Add the `data` group."""
    app.add_typer(data)


for name in FURTHER:
    if find_spec(f"worldeval.cli.{name}") is not None:
        import_module(f"worldeval.cli.{name}").register(data)


@data.command("inspect")
def inspect(
    path: Dataset,
    kind: Format = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The contact sheet, default runs/inspect/NAME.png.")
    ] = None,
    sheet: Annotated[bool, typer.Option(help="Draw the contact sheet.")] = True,
    as_json: Json = False,
) -> None:
    """Say what is in a dataset, and draw a contact sheet of it."""
    from dataclasses import asdict

    from worldeval.data.contact import contact_sheet
    from worldeval.data.source import open_source
    from worldeval.data.summary import summarise

    source = open_source(path, kind)
    summary = summarise(source)
    picture = None
    if sheet:
        picture = contact_sheet(source, out or Path("runs/inspect") / f"{_name(path)}.png")
    emit({**asdict(summary), "sheet": picture and str(picture)}, as_json=as_json)
    if not as_json:
        _show(summary)
        if picture:
            console.print(f"contact sheet: {picture}")


def _show(summary: "Summary") -> None:
    from rich.table import Table

    from worldeval.data.finding import counted

    facts = Table(box=None, show_header=False)
    views = ", ".join(f"{view} {h}x{w}" for view, (h, w) in summary.views.items())
    tasks = [f"{count} x {task or '(no text)'}" for task, count in summary.tasks.items()]
    for name, value in (
        ("format", summary.format),
        ("episodes", f"{summary.episodes} ({_counts(summary.splits)})"),
        ("frames", f"{summary.frames} at {summary.fps:g} a second"),
        ("views", views),
        ("success", _counts(summary.success)),
        ("tasks", "\n".join(tasks[:12] + ["..."] * (len(tasks) > 12))),
    ):
        facts.add_row(name, value)
    console.print(facts)
    for title, ranges in (("action", summary.action), ("pose", summary.pose)):
        console.print(_range_table(title, ranges))
    for code, count in counted(summary.findings).items():
        first = next(finding for finding in summary.findings if finding.code == code)
        log.print(f"{count} x {code}: episode {first.episode}: {first.text}", markup=False)


def _range_table(title: str, ranges: "list[Range]"):
    from rich.table import Table

    table = Table(box=None, title_justify="left")
    for column in (title, "min", "1%", "99%", "max"):
        table.add_column(column, justify="left" if column == title else "right")
    for row in ranges:
        table.add_row(row.name, *(f"{x:.4g}" for x in (row.min, row.p01, row.p99, row.max)))
    return table


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _name(path: Path) -> str:
    return path.resolve().stem or "dataset"
