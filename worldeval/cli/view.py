"""`worldeval view`: open the viewer in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import DATA, Json, Out, Seed, emit, verb


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(
        app, "view", view, "worldeval view runs --data datasets/mine",
        panels={"Server": ("port", "browser", "dry_run"), DATA: ("data",)},
    )  # fmt: skip


def view(
    runs: Annotated[Path, typer.Argument(help="Folder that contains the runs.")] = Path("runs"),
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Folder of datasets outside RUNS. May be repeated."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port that the viewer listens on.")] = 8501,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the command that would be started, without starting it."
        ),
    ] = False,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """View runs in a browser: rankings, imagined and simulated roll-outs, gates and labels.

    The viewer listens on this machine only and opens no file outside RUNS and --data. --out writes
    the address and the command as JSON.
    """
    from worldeval.api.view import viewer

    found = viewer(runs, data=data or (), port=port, browser=browser)
    started = {"url": found.url, "runs": found.runs, "command": found.command}
    emit(started, as_json=as_json, out=out)
    if not dry_run:
        raise typer.Exit(found.run())
