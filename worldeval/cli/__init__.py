"""The `worldeval` command: one light file per group of verbs, so that help is instant."""

import json
import sys
from importlib import import_module

import typer
from rich.console import Console

from worldeval import __version__
from worldeval.errors import UserError

# In the order of the help text. Each file offers `register(app)` and imports torch, pandas and
# simulators only inside its functions.
VERBS = (
    "system", "data", "train", "fidelity", "policy", "judge", "rank", "merge", "next", "improve",
    "validate", "export", "report", "film", "view", "serve", "adapter", "env",
)  # fmt: skip

app = typer.Typer(
    name="worldeval",
    help="Rank robot policies inside a learned world model, and say how sure the ranking is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"worldeval {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options that come before the verb."""


for name in VERBS:
    import_module(f"{__name__}.{name}").register(app)


def main() -> None:
    """Run the command; a mistake of the user ends in one line and exit status 2."""
    try:
        app()
    except UserError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": str(error)}))
        Console(stderr=True, soft_wrap=True).print(
            f"error: {error}", style="bold red", markup=False, highlight=False
        )
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
