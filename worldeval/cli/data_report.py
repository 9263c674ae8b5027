"""`worldeval data report`: how good recordings are, and how much they cover."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldeval.cli.common import Every, Format, Json, Map, Out, Seed, console, emit, verb

if TYPE_CHECKING:
    from worldeval.api.data_report import DataQuality


def register(data: typer.Typer) -> None:
    """Add the verb to the `data` group."""
    verb(
        data, "report", report,
        "worldeval data report recordings --reference evaluations --expert operator",
        panels={"What they are compared with": ("reference", "expert", "random", "discount")},
    )  # fmt: skip


def report(
    path: Annotated[Path, typer.Argument(help="Folder (or file) of a dataset.")],
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            help="Recordings that explore, such as roll-outs of many policies; the coverage is "
            "relative to theirs. Default: to the number of frames.",
        ),
    ] = None,
    expert: Annotated[
        str | None,
        typer.Option(
            "--expert",
            help="Glob on the sources of experts, whose mean return is 1. Default: always "
            "succeeding as fast as the successes of the data.",
        ),
    ] = None,
    random: Annotated[
        str | None,
        typer.Option(
            "--random",
            help="Glob on the sources of random play, whose mean return is 0. Default: never "
            "succeeding.",
        ),
    ] = None,
    discount: Annotated[
        float, typer.Option(help="Discount of the return per frame: success counts less later.")
    ] = 0.99,
    kind: Format = None,
    named: Map = None,
    every: Every = None,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Measure trajectory quality and state-action coverage, and say which learning they suit.

    Quality is 0 at random play and 1 at an expert's. Coverage counts different states and actions.
    """
    from dataclasses import asdict

    from rich.table import Table

    from worldeval.api.data_report import report_data

    found = report_data(
        path,
        reference,
        expert=expert,
        random=random,
        discount=discount,
        every=every or 1,
        format=kind,
        map=named,
    )
    emit(asdict(found), as_json=as_json, out=out)
    if as_json:
        return
    table = Table(box=None)
    table.add_column("task")
    for column in ("episodes", "success", "quality (TQ)", "pairs", "coverage (SACo)"):
        table.add_column(column, justify="right")
    for each in (*found.tasks, found.whole) if len(found.tasks) > 1 else found.tasks:
        table.add_row(*_cells(each))
    console.print(table)
    drivers = {name or "(no source)": value for name, value in found.drivers.items()}
    if len(drivers) > 1:
        said = ", ".join(f"{name} {_number(value)}" for name, value in drivers.items())
        console.print(f"quality by driver: {said}", soft_wrap=True)
    console.print(f"coverage is relative to {found.reference}", soft_wrap=True)
    for line in found.suggestions:
        console.print(line, soft_wrap=True)


def _cells(each: "DataQuality") -> tuple[str, ...]:
    numbers = (_number(each.success), _number(each.quality))
    return (each.task, str(each.episodes), *numbers, str(each.pairs), _number(each.coverage))


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
