"""`worldeval env`: separate Python environments for packages that conflict with worldeval."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import Json, Seed, emit, log, verb


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Create Python environments for policies with conflicting dependencies.",
    )
    group.callback()(_group)
    verb(group, "lerobot", lerobot, "worldeval env lerobot")
    app.add_typer(group, name="env")


def _group() -> None:
    """Create environments for policies that need other package versions than worldeval."""


def lerobot(
    out: Annotated[Path, typer.Option(help="Folder for the environment.")] = Path(".venv-lerobot"),
    python: Annotated[
        str,
        typer.Option(
            help="Python interpreter to use. Default: the one that runs worldeval. LeRobot 0.5 and "
            "later needs Python 3.12."
        ),
    ] = "",
    version: Annotated[
        str,
        typer.Option("--lerobot", help="Version of LeRobot. Default: the newest compatible one."),
    ] = "",
    extra: Annotated[
        list[str] | None,
        typer.Option(help="Extra of LeRobot that a policy needs from 0.6 on, such as diffusion."),
    ] = None,
    pip: Annotated[
        list[str] | None,
        typer.Option(help="Option to pass to pip, such as --pip=--index-url=https://..."),
    ] = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Create an environment with LeRobot, in which its checkpoints are run.

    `worldeval rank --policies 'lerobot:...'` finds it in .venv-lerobot in the current folder, or in
    the folder that WORLDEVAL_LEROBOT names, and starts and stops the policy servers there itself.
    """
    from worldeval.api.environment import make_lerobot_environment

    made = make_lerobot_environment(
        out,
        python=python,
        version=version,
        extras=extra or (),
        pip=pip or (),
        say=log.print,
    )
    if made.setting is not None:
        log.print(f"To let worldeval find it: export {made.setting}")
    emit({"python": str(made.python)}, as_json=as_json)
