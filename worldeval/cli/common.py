"""What every verb shares: its options, how results leave, and how mistakes and Ctrl-C end."""

import inspect
import json
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console
from rich.markup import escape

from worldeval.run import plain, write_json

# Panels of the options in a verb's help.
MODELS = "Policies and models"
SAMPLING = "Sampling"
WORK = "Parallel work"
BUDGET = "Budget"
TRUTH = "Comparison with what was measured"
SAFETY = "Safety"
RECIPE = "Recipe"
OUTPUT = "Output"

Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON on stdout.", rich_help_panel=OUTPUT),
]
Seed = Annotated[
    int,
    typer.Option("--seed", help="Seed of everything random.", min=0, rich_help_panel=OUTPUT),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder (or file) for the result.", rich_help_panel=OUTPUT),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        help="Send training curves to a tracker: tensorboard, wandb, trackio... May be repeated.",
        rich_help_panel=OUTPUT,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Override a recipe key: trainer.steps=100. KEY= empties it. May be repeated.",
        rich_help_panel=RECIPE,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-pickle",
        help="Load policies that are pickles. Loading one runs whatever code it contains.",
        rich_help_panel=SAFETY,
    ),
]

DATA = "Data"
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Dataset format, if it is not detected, or ./mine.py:Reader of your own.",
        rich_help_panel=DATA,
    ),
]
Map = Annotated[
    Path | None,
    typer.Option(
        "--map",
        help="YAML file that says what the columns and pictures mean.",
        rich_help_panel=DATA,
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help="Format of the data; repeat it for each --data in turn.",
        rich_help_panel=DATA,
    ),
]
Maps = Annotated[
    list[Path] | None,
    typer.Option(
        "--map",
        help="Map of the data (see docs/data.md); one for all, or for each.",
        rich_help_panel=DATA,
    ),
]

INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it


def plain_console(**options: Any) -> Console:
    """A console that prints text as it is: square brackets in names and paths are no markup.

    Styles are given by `style=` and by `rich.text.Text`.
    """
    return Console(markup=False, highlight=False, emoji=False, **options)


# Progress and notes go to stderr, so that stdout holds the result alone.
log = plain_console(stderr=True)
# A file or a pipe has no width of its own: tables there keep one that fits them.
console = plain_console(width=None if sys.stdout.isatty() else 132)


def verb(
    app: typer.Typer,
    name: str,
    run: Callable[..., Any],
    *examples: str,
    panels: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Add a verb whose help is its docstring, followed by examples.

    Paragraphs of the docstring become single lines, which the terminal wraps at its own width.

    Args:
        panels: panel of the help -> parameters that stand in it, beside those that name their own.
    """
    hints = get_type_hints(run, include_extras=True)
    for panel, names in (panels or {}).items():
        for each in names:
            (option,) = hints[each].__metadata__
            option.rich_help_panel = panel
    paragraphs = inspect.cleandoc(run.__doc__ or "").split("\n\n")
    text = "\n\n".join(escape(" ".join(each.split())) for each in paragraphs)
    said = ["Example:" if len(examples) == 1 else "Examples:", *map(escape, examples)]
    app.command(name, help=text, epilog="\n\n".join(said))(run)


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
        log.print(f"Stopped; what is done is kept. To go on:\n  {same_command()}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None


def same_command() -> str:
    """The command that was given, as it can be given again."""
    return shlex.join(["worldeval", *sys.argv[1:]])


def opened(path: Path, kind: str | None, named: Path | None):
    """The dataset at `path`, read by a format and a map where they are named."""
    from worldeval.data.data_map import read_map
    from worldeval.data.source import open_source

    return open_source(path, kind, given=read_map(named) if named else None)
