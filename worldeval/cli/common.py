"""What every verb shares: its options, how results leave, and how mistakes and Ctrl-C end."""

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from worldeval.run import plain, write_json

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder (or file) for the result.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Override a recipe key: trainer.steps=100.")
]

Format = Annotated[
    str | None,
    typer.Option(
        "--format", help="Dataset format, if it is not detected, or ./mine.py:Reader of your own."
    ),
]
Map = Annotated[
    Path | None,
    typer.Option("--map", help="YAML file that says what the columns and pictures mean."),
]
Formats = Annotated[
    list[str] | None,
    typer.Option("--format", help="Format of the data; repeat it for each --data in turn."),
]
Maps = Annotated[
    list[Path] | None,
    typer.Option("--map", help="Map of the data (see docs/data.md); one for all, or for each."),
]

INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it

# Progress and notes go to stderr, so that stdout holds the result alone.
log = Console(stderr=True)
# A file or a pipe has no width of its own: tables there keep one that fits them.
console = Console(width=None if sys.stdout.isatty() else 132)


def emit(result: Any, *, as_json: bool, out: Path | None = None) -> None:
    """Print `result` as JSON on stdout when asked to; tables are printed by the verb itself.

    `out` is a file that keeps the JSON too.
    """
    if out is not None:
        write_json(out, result)
    if as_json:
        json.dump(result, sys.stdout, indent=2, allow_nan=False, default=plain)
        sys.stdout.write("\n")


@contextmanager
def resumable() -> Iterator[None]:
    """A verb that does only what is missing: Ctrl-C inside prints how to go on, and exits 130."""
    try:
        yield
    except KeyboardInterrupt:
        log.print(
            f"Stopped; what is done is kept. To go on:\n  {same_command()}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None


def same_command() -> str:
    """The command that was given, as it can be given again."""
    return shlex.join(["worldeval", *sys.argv[1:]])


def opened(path: Path, kind: str | None, named: Path | None):
    """The dataset at `path`, read by a format and a map where they are named."""
    from worldeval.data.data_map import read_map
    from worldeval.data.source import open_source

    return open_source(path, kind, given=read_map(named) if named else None)
