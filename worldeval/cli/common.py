"""Shared parts of all commands: options, output, errors and Ctrl-C."""

import inspect
import json
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from typer.core import TyperCommand

from worldeval.files import plain, write_json

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
    typer.Option("--seed", help="Random seed.", min=0, rich_help_panel=OUTPUT),
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
        help="Override a recipe key, such as trainer.steps=100; KEY= clears it. May be repeated.",
        rich_help_panel=RECIPE,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-pickle",
        help="Load pickled policies. Loading a pickle executes any code that it contains.",
        rich_help_panel=SAFETY,
    ),
]

DATA = "Data"
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Dataset format, if it is not detected, or your own reader: ./mine.py:Reader.",
        rich_help_panel=DATA,
    ),
]
Map = Annotated[
    Path | None,
    typer.Option(
        "--map",
        help="YAML file that describes the dataset's columns and images (see docs/data.md).",
        rich_help_panel=DATA,
    ),
]
Every = Annotated[
    int | None,
    typer.Option(
        "--every",
        help="Recorded steps in one frame, whose actions are stacked: 5 makes a 50 Hz dataset 10 "
        "frames per second.",
        min=1,
        rich_help_panel=DATA,
    ),
]
TextEncoder = Annotated[
    str | None,
    typer.Option(
        "--text-encoder",
        help="Folder of a text encoder (CLIP's or a sentence encoder) by which the judge reads "
        "instructions; 'ignore' judges without them. Default: known tasks by name.",
        rich_help_panel=RECIPE,
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help="Dataset format; repeat the option once per --data, in the same order.",
        rich_help_panel=DATA,
    ),
]
Maps = Annotated[
    list[Path] | None,
    typer.Option(
        "--map",
        help="YAML file that describes the data (docs/data.md); one for all, or one per --data.",
        rich_help_panel=DATA,
    ),
]

INTERRUPTED = 130  # the exit status that shells use after Ctrl-C


def plain_console(**options: Any) -> Console:
    """Make a console that prints text literally, so that square brackets are not markup.

    Use `style=` or `rich.text.Text` for styles.
    """
    return Console(markup=False, highlight=False, emoji=False, **options)


# Progress and notes go to stderr, so that stdout contains only the result.
log = plain_console(stderr=True)
# Files and pipes have no width, so tables written to them get a fixed one.
console = plain_console(width=None if sys.stdout.isatty() else 132)


class WithExample(TyperCommand):
    """Says how the command is used if an argument or option is missing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the command's first example to the error."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if type(error).__name__ == "MissingParameter":  # typer exports only its base class
                lines = Text.from_markup(self.epilog or "").plain.split("\n\n")
                error.message = " ".join(filter(None, (error.message, f"For example:\n{lines[1]}")))
            raise


def verb(
    app: typer.Typer,
    name: str,
    run: Callable[..., Any],
    *examples: str,
    panels: Mapping[str, Collection[str]] | None = None,
    cls: type[TyperCommand] = WithExample,
) -> None:
    """Add a command whose help is its docstring followed by examples.

    Paragraphs of the docstring become single lines, which the terminal wraps at its width.

    Args:
        panels: panel of the help -> its parameters, in addition to those that name a panel.
        cls: how the command reads its arguments.
    """
    hints = get_type_hints(run, include_extras=True)
    for panel, names in (panels or {}).items():
        for each in names:
            (option,) = hints[each].__metadata__
            option.rich_help_panel = panel
    paragraphs = inspect.cleandoc(run.__doc__ or "").split("\n\n")
    text = "\n\n".join(escape(" ".join(each.split())) for each in paragraphs)
    said = ["Example:" if len(examples) == 1 else "Examples:", *map(escape, examples)]
    app.command(name, cls=cls, help=text, epilog="\n\n".join(said))(run)


def emit(result: Any, *, as_json: bool, out: Path | None = None) -> None:
    """Print `result` as JSON on stdout if `as_json`; tables are printed by the command itself.

    `out` is an optional file to which the JSON is written as well.
    """
    if out is not None:
        write_json(out, result)
    if as_json:
        json.dump(result, sys.stdout, indent=2, allow_nan=False, default=plain)
        sys.stdout.write("\n")


def settings_of(sets: Sequence[str] | None) -> dict[str, Any]:
    """Read the texts of `--set` as values."""
    from worldeval.config import read_settings

    return read_settings(sets or ())


@contextmanager
def resumable() -> Iterator[None]:
    """On Ctrl-C, print the command that continues the work, and exit with status 130."""
    try:
        yield
    except KeyboardInterrupt:
        log.print(
            f"Stopped; finished work is kept. To continue:\n  {same_command()}", soft_wrap=True
        )
        raise typer.Exit(INTERRUPTED) from None


def same_command() -> str:
    """Return the current command line, quoted for a shell."""
    return shlex.join(["worldeval", *sys.argv[1:]])


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows on stderr how many of how many are done, from its first call."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=log)

    def show(done: int, total: int) -> None:
        if not bar.tasks:
            bar.start()
            bar.add_task(what)
        bar.update(bar.tasks[0].id, completed=done, total=total)

    try:
        yield show
    finally:
        if bar.tasks:
            bar.stop()
