"""`worldeval view`: open the viewer in a browser."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import DATA, Json, Out, Seed, emit, verb
from worldeval.errors import UserError
from worldeval.run import write_json

HERE = Path(__file__).parent.parent
# Accept only local connections, send no usage statistics, and offer no button to publish the app.
SERVER = {
    "--server.address": "localhost",
    "--browser.gatherUsageStats": "false",
    "--client.toolbarMode": "minimal",
    "--server.fileWatcherType": "none",
}


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
    if find_spec("streamlit") is None:
        raise UserError("The viewer needs Streamlit: pip install 'worldeval[app]'.")
    for folder in (runs, *(data or ())):
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder}. Give the folder that holds your runs.")
    command = [sys.executable, "-m", "streamlit", "run", str(main_file())]
    command += [word for option in SERVER.items() for word in option]
    command += ["--server.port", str(port), "--server.headless", str(not browser).lower()]
    started = {"url": f"http://localhost:{port}", "runs": runs, "command": command}
    if out is not None:
        write_json(out, started)
    emit(started, as_json=as_json)
    if not dry_run:
        folders = os.pathsep.join(str(folder) for folder in data or ())
        environment = {**os.environ, "WORLDEVAL_RUNS": str(runs), "WORLDEVAL_DATA": folders}
        raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)


def main_file() -> Path:
    """Find the viewer in a checkout or in an installed wheel."""
    for folder in (HERE / "app", HERE.parent / "app"):
        if (folder / "main.py").is_file():
            return folder / "main.py"
    raise UserError(
        "This installation does not contain the viewer (app/). Install from the repository."
    )
