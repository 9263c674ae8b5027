"""`worldeval merge`: merge the parts of a run that were made on several machines."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import OUTPUT, Json, Seed, console, emit, verb


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verb(app, "merge", merge, "worldeval merge part-0 part-1 --out runs/whole")


def merge(
    parts: Annotated[list[Path], typer.Argument(help="Run folders of the parts.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the whole run.", rich_help_panel=OUTPUT)
    ],
    as_json: Json = False,
    seed: Seed = 0,
) -> None:
    """Check and merge the parts made by `rank --num-shards N --shard-index I`.

    `worldeval rank PROTOCOL --out RUN` then ranks the merged run and completes missing episodes.
    """
    from worldeval.api.rank import merge as put_together

    merged = put_together(parts, out)
    emit(asdict(merged), as_json=as_json)
    if not as_json:
        console.print(
            f"{merged.run} contains {merged.imagined} imagined and {merged.simulated} simulated "
            f"episodes ({merged.twice} were in more than one part, and agree).",
            soft_wrap=True,
        )
