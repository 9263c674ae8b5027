"""The `worldeval` command: one module per group of commands, cheap to import for `--help`."""

import errno
import json
import sys
import traceback
from importlib import import_module

import typer

from worldeval import __version__
from worldeval.cli.common import log
from worldeval.errors import UserError

# In the order of the help text. Each module has `register(app)` and imports torch, pandas and
# simulators only inside functions.
VERBS = (
    "system", "data", "learn", "train", "fidelity", "policy", "judge", "passport", "rank", "merge",
    "watch", "next", "improve", "explain", "validate", "export", "push", "report", "film", "view",
    "serve", "adapter", "env",
)  # fmt: skip

app = typer.Typer(
    name="worldeval",
    help="Rank robot policies inside a learned world model, and quantify how certain the ranking "
    "is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
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
    """Run the command. Errors of the user or the machine print one line and exit with status 2."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (UserError, OSError, UnicodeError) as error:
        _refuse(_one_line(error))
        raise SystemExit(2) from None
    except Exception:
        traceback.print_exc()
        log.print(
            "This is a bug in worldeval, or in a policy or package that it ran. To report it, "
            "include the traceback above, the command, and the output of `worldeval doctor "
            "--json`.",
            soft_wrap=True,
        )
        raise SystemExit(1) from None


def _refuse(text: str) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": text}))
    log.print(f"error: {text}", style="bold red", soft_wrap=True)


def _one_line(error: UserError | OSError | UnicodeError) -> str:
    """Format an error as one line: what happened and what to do."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, UnicodeError):
        return f"A text file is not valid UTF-8 ({error}). Save the file as UTF-8."
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}. {ADVICE.get(error.errno or 0, 'Check the path.')}"


ADVICE = {
    errno.EPERM: "Choose a folder that you can write to, with --out.",
    errno.EACCES: "Choose a folder that you can read and write, or change its permissions.",
    errno.EFBIG: "The file is larger than this disk allows; choose another --out.",
    errno.ENOSPC: "Finished work is kept; free some space, and run the same command again.",
    errno.EROFS: "The disk is read-only; choose another --out.",
    errno.ENAMETOOLONG: "The name is too long for this disk; choose a shorter one.",
    errno.EDQUOT: "Your disk quota is used up; free some space, and run the same command again.",
}
