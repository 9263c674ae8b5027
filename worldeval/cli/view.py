"""`worldeval view`: open the viewer in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import DATA, Json, Out, Seed, emit, log, verb


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(
        app, "view", view, "worldeval view runs --data datasets/mine",
        "worldeval view runs/demo --label",
        "worldeval view labels.csv --data recordings",
        panels={
            "Labels": ("label",), "Server": ("port", "browser", "dry_run"), DATA: ("data",),
            "To send": ("bundle",),
        },
    )  # fmt: skip


def view(
    runs: Annotated[
        Path,
        typer.Argument(
            help="Folder that contains the runs; with --label or --bundle, a single run. Or a file "
            "of worldeval data label, to confirm its labels beside --data."
        ),
    ] = Path("runs"),
    label: Annotated[
        bool,
        typer.Option(
            "--label",
            help="Open the blind queue of the run RUNS: label the episodes that matter most first.",
        ),
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a static, read-only site of the run RUNS into DIR instead: it opens from a "
            "file or any web server, and is what to send to a colleague.",
        ),
    ] = None,
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
    if bundle is not None:
        from worldeval.api.bundle import bundle as written

        made = written(runs, bundle, seed=seed)
        told = {
            "page": made.path,
            "episodes": made.episodes,
            "films": made.films,
            "megabytes": round(made.megabytes, 1),
        }
        size = f"{made.episodes:,} episodes, {made.films} films, {made.megabytes:.1f} MiB"
        log.print(f"Wrote {made.path}: {size}.", markup=False, highlight=False)
        emit(told, as_json=as_json, out=out)
        return
    from worldeval.api.view import viewer

    found = viewer(runs, label=label, data=data or (), port=port, browser=browser)
    started = {"url": found.url, "runs": found.runs, "command": found.command}
    emit(started, as_json=as_json, out=out)
    if not dry_run:
        raise typer.Exit(found.run())
