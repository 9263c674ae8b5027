"""`worldeval env`: environments for what cannot be installed beside worldeval."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import Json, Seed, emit, log, verb


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(no_args_is_help=True, help="Make environments for policies of others.")
    group.callback()(_group)
    verb(group, "lerobot", lerobot, "worldeval env lerobot")
    app.add_typer(group, name="env")


def _group() -> None:
    """Environments for policies that need other versions than worldeval does."""


def lerobot(
    out: Annotated[Path, typer.Option(help="Folder for the environment.")] = Path(".venv-lerobot"),
    python: Annotated[
        str, typer.Option(help="Python to make it with. LeRobot 0.5 and later needs 3.12.")
    ] = sys.executable,
    version: Annotated[
        str, typer.Option("--lerobot", help="Version of LeRobot. Default: the newest that fits.")
    ] = "",
    extra: Annotated[
        list[str] | None,
        typer.Option(help="Extra of LeRobot, as its policies need from 0.6 on: diffusion."),
    ] = None,
    pip: Annotated[
        list[str] | None, typer.Option(help="Option for pip: --pip=--index-url=https://...")
    ] = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Make an environment with LeRobot, in which its checkpoints are run.

    `worldeval rank --policies 'lerobot:...'` finds it in this folder's .venv-lerobot, or where
    WORLDEVAL_LEROBOT says, and starts and stops what it needs there by itself.
    """
    from worldeval.policy.remote.beside import FOLDER, PLACE, LeRobotEnvironment

    made = LeRobotEnvironment(
        out=out,
        python=python,
        version=version,
        extras=tuple(extra or ()),
        options=tuple(pip or ()),
    )
    found = made.make(lambda text: log.print(text))
    if out.resolve() != Path(FOLDER).resolve():
        log.print(f"Let worldeval find it: export {PLACE}={out.resolve()}")
    emit({"python": str(found)}, as_json=as_json)
